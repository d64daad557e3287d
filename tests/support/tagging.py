"""Tagged text of two domains, and its mentions."""

from __future__ import annotations

import torch

from kdrun.ops.spans import mention_starts

__all__ = ["TOY", "mentions"]

TOY = {"source": 150, "target": 150, "valid": 20, "test": 150}


def mentions(tags: torch.Tensor) -> torch.Tensor:
    """Where a mention starts in ``tags`` [rows, words]."""
    start, inside = mention_starts(tags)
    return inside & (start == torch.arange(tags.shape[1]))
