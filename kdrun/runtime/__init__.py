"""What a stage is handed: context, artifacts, hardware, checkpoints, files, progress, processes."""
