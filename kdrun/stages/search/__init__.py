"""The ``search`` stage: a strategy proposes models from a space, and each is scored without training."""
