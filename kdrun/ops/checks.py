"""Checks that several ops share: silent broadcasting would turn a wiring mistake into a wrong number."""

from __future__ import annotations

from torch import Tensor

__all__ = ["require_maps", "require_rows", "require_same_batch", "require_same_shape"]

OTHER_WORDS = "if these are vocabularies: transfer=cross_vocabulary/universal_logits or another method of that protocol"
"""Where to go with predictions of each position that are over other entries."""


def require_same_shape(first: Tensor, second: Tensor, names: str = "student and teacher") -> None:
    """Raise ``ValueError`` unless both tensors have one shape."""
    if first.shape != second.shape:
        words = first.dim() == second.dim() == 3 and first.shape[:2] == second.shape[:2]
        hint = f"; {OTHER_WORDS}" if words and "student" in names else ""
        raise ValueError(f"{names} must have one shape, got {list(first.shape)} and {list(second.shape)}{hint}")


def require_same_batch(first: Tensor, second: Tensor, names: str = "student and teacher") -> None:
    """Raise ``ValueError`` unless both tensors have the same number of rows."""
    if len(first) != len(second):
        raise ValueError(f"{names} must have the same number of rows, got {len(first)} and {len(second)}")


def require_maps(*values: Tensor) -> None:
    """Raise ``ValueError`` unless every tensor is [batch, channels, height, width]."""
    for value in values:
        if value.dim() != 4:
            raise ValueError(f"expected maps [batch, channels, height, width], got {list(value.shape)}")


def require_rows(*values: Tensor) -> None:
    """Raise ``ValueError`` unless every tensor is [batch, features]."""
    for value in values:
        if value.dim() != 2:
            raise ValueError(f"expected rows [batch, features], got {list(value.shape)}")
