"""Random tensors, from the seeded generator that the engine hands to each op."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count, Fraction, Positive, Size

__all__ = [
    "beta",
    "laplace_soft_targets",
    "permutation",
    "permute_columns",
    "random_partners",
    "random_rows",
    "standard_normal",
    "uniform",
    "uniform_labels",
    "unit_rows",
]


def _shape(like: Tensor, features: int | None, per_row: bool) -> tuple[int, ...]:
    if per_row:
        return (len(like),)
    return tuple(like.shape) if features is None else (len(like), features)


def _as(value: Tensor, like: Tensor) -> Tensor:
    return value.to(device=like.device, dtype=like.dtype if like.is_floating_point() else value.dtype)


@op
def standard_normal(
    like: Tensor, *, features: Count | None = None, per_row: bool = False, generator: torch.Generator
) -> Tensor:
    """Standard normal noise of the shape of ``like`` [batch, ...], or [batch, features], or [batch] with ``per_row``."""
    shape = _shape(like, features, per_row)
    return _as(torch.randn(shape, generator=generator, device=generator.device), like)


@op
def uniform(
    like: Tensor,
    *,
    low: float = 0.0,
    high: float = 1.0,
    features: Count | None = None,
    per_row: bool = False,
    generator: torch.Generator,
) -> Tensor:
    """Uniform noise in [low, high) of the shape of ``like`` [batch, ...], or [batch, features], or [batch] with ``per_row``."""
    shape = _shape(like, features, per_row)
    return _as(torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low, like)


@op
def uniform_labels(like: Tensor, *, classes: Count, generator: torch.Generator) -> Tensor:
    """One class a row of ``like``, drawn uniformly: [batch] (int64)."""
    return torch.randint(classes, (len(like),), generator=generator, device=generator.device).to(like.device)


@op
def beta(like: Tensor, *, first: Positive = 1.0, second: Positive = 1.0, generator: torch.Generator) -> Tensor:
    """One Beta(first, second) number in [0, 1] a row of ``like``: [batch]."""
    shape = torch.tensor([first, second], dtype=torch.float64, device=generator.device).expand(len(like), 2)
    # Gamma variates of a small shape underflow; the boost G(a) = G(a + 1)·U^(1/a), taken in logarithms, does not.
    gamma = torch._standard_gamma(shape + 1, generator=generator).log()
    boost = torch.rand(shape.shape, generator=generator, device=generator.device, dtype=torch.float64)
    logs = gamma + boost.clamp_min(1e-300).log() / shape
    sample = (logs[:, 0] - logs[:, 1]).sigmoid()
    return sample.to(device=like.device, dtype=like.dtype if like.is_floating_point() else torch.float32)


@op
def permutation(like: Tensor, *, generator: torch.Generator) -> Tensor:
    """A random order of the rows of ``like``: [batch] (int64)."""
    return torch.randperm(len(like), generator=generator, device=generator.device).to(like.device)


@op
def permute_columns(matrix: Tensor, *, generator: torch.Generator) -> Tensor:
    """Each row [rows, columns] in a random order of its own: the same numbers in wrong places."""
    order = torch.rand(matrix.shape, generator=generator, device=generator.device).argsort(1)
    return matrix.gather(1, order.to(matrix.device))


@op
def unit_rows(*, rows: Size = "auto", features: Count, generator: torch.Generator) -> Tensor:
    """Random directions, uniform on the sphere: [rows, features]; the first content of a memory bank."""
    drawn = torch.randn(int(rows), features, generator=generator, device=generator.device)
    return torch.nn.functional.normalize(drawn, dim=1)


@op
def random_partners(index: Tensor, bank: Tensor, *, count: Count, generator: torch.Generator) -> Tensor:
    """Each row's own place in ``bank`` [rows, ...], then ``count`` other places at random, with replacement.

    ``index`` [batch] and the result [batch, 1 + count] are int64.
    """
    shape = (len(index), count)
    shift = torch.randint(1, max(len(bank), 2), shape, generator=generator, device=generator.device).to(index.device)
    return torch.cat([index[:, None], (index[:, None] + shift) % len(bank)], dim=1)


@op
def random_rows(
    like: Tensor, *, count: Count | None = None, share: Fraction | None = None, generator: torch.Generator
) -> Tensor:
    """Numbers [chosen] (int64, sorted) of ``count`` rows of ``like`` [rows, ...], or of a ``share``, without replacement."""
    chosen = count if count is not None else max(round((1.0 if share is None else share) * len(like)), 1)
    order = torch.randperm(len(like), generator=generator, device=generator.device)
    return order[:chosen].sort().values.to(like.device)


@op
def laplace_soft_targets(
    probabilities: Tensor,
    mask: Tensor,
    *,
    epsilon: Positive = 1.0,
    generator: torch.Generator,
) -> Tensor:
    """Add Laplace noise of scale ``1 / (epsilon · classes)`` to soft targets where ``mask`` is true, and renormalise.

    ``probabilities`` [..., classes]; ``mask`` [...] (bool). Noisy entries are clipped below at 0 first (Li et al.,
    2022). A row that loses all its mass becomes uniform.
    """
    classes = probabilities.shape[-1]
    shape = probabilities.shape
    half = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64) - 0.5
    noise = -half.sign() * (-2 * half.abs()).clamp_min(-1 + 1e-12).log1p() / (epsilon * classes)
    noisy = (probabilities + noise.to(probabilities)).clamp_min(0)
    total = noisy.sum(-1, keepdim=True)
    noisy = torch.where(total > 0, noisy / total.clamp_min(1e-30), torch.full_like(noisy, 1 / classes))
    return torch.where(mask.unsqueeze(-1), noisy, probabilities)
