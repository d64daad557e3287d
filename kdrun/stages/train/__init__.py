"""The ``train`` stage: fits models with a step graph, with checkpoints and exact resume."""
