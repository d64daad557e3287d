"""Seeded random numbers and small clouds of points."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["THREE", "UNSURE", "blobs", "generator", "rows", "student_and_teacher"]


def generator(seed: int = 0) -> torch.Generator:
    """A generator on the processor that starts from ``seed``."""
    return torch.Generator().manual_seed(seed)


def rows(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers of this shape in double precision."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def student_and_teacher() -> tuple[Tensor, Tensor]:
    """Logits [4, 5] of a student, which ask for a gradient, and of a teacher."""
    return rows(4, 5).requires_grad_(), rows(4, 5, seed=1)


def blobs(*centers: list[float], rows: int = 30, spread: float = 0.05) -> torch.Tensor:
    """So many rows around each centre, one after the other."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(centers) * rows, len(centers[0]), generator=generator)
    return torch.tensor(centers).repeat_interleave(rows, 0) + spread * noise


THREE = blobs([1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0])
UNSURE = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]).repeat_interleave(30, 0)
