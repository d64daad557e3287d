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
    """Standard normal noise of the shape of ``like``, or [batch, features], or [batch] with ``per_row``.

    ``like`` is [batch, ...]; the result is in its dtype and on its device (float32 if it holds integers).

    >>> noise = ops.standard_normal(torch.zeros(2, 3), features=5, generator=torch.Generator().manual_seed(0))
    >>> noise.shape
    torch.Size([2, 5])
    """
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
    """Uniform noise in [low, high) of the shape of ``like``, or [batch, features], or [batch] with ``per_row``.

    ``like`` is [batch, ...]; the result is in its dtype and on its device (float32 if it holds integers).

    >>> noise = ops.uniform(torch.zeros(100), low=2.0, high=3.0, generator=torch.Generator().manual_seed(0))
    >>> bool(((noise >= 2) & (noise < 3)).all())
    True
    """
    shape = _shape(like, features, per_row)
    return _as(torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low, like)


@op
def uniform_labels(like: Tensor, *, classes: Count, generator: torch.Generator) -> Tensor:
    """One class a row of ``like`` [batch, ...], drawn uniformly from 0 to classes - 1: [batch] (int64).

    >>> labels = ops.uniform_labels(torch.zeros(100, 8), classes=3, generator=torch.Generator().manual_seed(0))
    >>> labels.shape, labels.unique()
    (torch.Size([100]), tensor([0, 1, 2]))
    """
    return torch.randint(classes, (len(like),), generator=generator, device=generator.device).to(like.device)


@op
def beta(like: Tensor, *, first: Positive = 1.0, second: Positive = 1.0, generator: torch.Generator) -> Tensor:
    """One Beta(first, second) number in [0, 1] a row of ``like``: [batch], in its dtype.

    The mean is ``first / (first + second)``. Drawn in float64 by logarithms, so that shapes near 0 do not underflow.

    >>> ratio = ops.beta(torch.zeros(5, 3), first=0.2, second=0.2, generator=torch.Generator().manual_seed(0))
    >>> ratio.shape, bool(((ratio >= 0) & (ratio <= 1)).all())
    (torch.Size([5]), True)
    """
    shape = torch.tensor([first, second], dtype=torch.float64, device=generator.device).expand(len(like), 2)
    # Gamma variates of a small shape underflow; the boost G(a) = G(a + 1)·U^(1/a), taken in logarithms, does not.
    gamma = torch._standard_gamma(shape + 1, generator=generator).log()
    boost = torch.rand(shape.shape, generator=generator, device=generator.device, dtype=torch.float64)
    logs = gamma + boost.clamp_min(1e-300).log() / shape
    sample = (logs[:, 0] - logs[:, 1]).sigmoid()
    return sample.to(device=like.device, dtype=like.dtype if like.is_floating_point() else torch.float32)


@op
def permutation(like: Tensor, *, displaced: bool = False, generator: torch.Generator) -> Tensor:
    """A random order of the rows of ``like``: [batch] (int64), each number once; ``displaced``: none in its own place.

    The latter is one random cycle through all rows, where there are two or more.

    >>> order = ops.permutation(torch.zeros(4, 2), generator=torch.Generator().manual_seed(0))
    >>> order.sort().values
    tensor([0, 1, 2, 3])
    """
    order = torch.randperm(len(like), generator=generator, device=generator.device).to(like.device)
    return torch.empty_like(order).scatter_(0, order, order.roll(1)) if displaced else order


@op
def permute_columns(matrix: Tensor, *, generator: torch.Generator) -> Tensor:
    """Each row [rows, columns] in a random order of its own: the same numbers in wrong places.

    >>> mixed = ops.permute_columns(torch.tensor([[1, 2, 3], [4, 5, 6]]), generator=torch.Generator().manual_seed(0))
    >>> mixed.sort(1).values
    tensor([[1, 2, 3],
            [4, 5, 6]])
    """
    order = torch.rand(matrix.shape, generator=generator, device=generator.device).argsort(1)
    return matrix.gather(1, order.to(matrix.device))


@op
def unit_rows(*, rows: Size = "auto", features: Count, generator: torch.Generator) -> Tensor:
    """Random directions, uniform on the sphere: [rows, features] (float32) of length 1.

    The first content of a memory bank; ``rows: auto`` is the number of rows of the data that the bank keeps.

    >>> bank = ops.unit_rows(rows=3, features=8, generator=torch.Generator().manual_seed(0))
    >>> bank.norm(dim=1)
    tensor([1.0000, 1.0000, 1.0000])
    """
    drawn = torch.randn(int(rows), features, generator=generator, device=generator.device)
    return torch.nn.functional.normalize(drawn, dim=1)


@op
def random_partners(index: Tensor, bank: Tensor, *, count: Count, generator: torch.Generator) -> Tensor:
    """Each row's own place in a bank, then ``count`` other places at random: [batch, 1 + count] (int64).

    ``index`` [batch] (int64) in ``bank`` [rows, ...]. Drawn with replacement; the other places are never the own one,
    unless the bank has one row.

    >>> generator = torch.Generator().manual_seed(0)
    >>> places = ops.random_partners(torch.tensor([0, 2]), torch.zeros(5, 8), count=3, generator=generator)
    >>> places.shape, places[:, 0], bool((places[:, 1:] != places[:, :1]).all())
    (torch.Size([2, 4]), tensor([0, 2]), True)
    """
    shape = (len(index), count)
    shift = torch.randint(1, max(len(bank), 2), shape, generator=generator, device=generator.device).to(index.device)
    return torch.cat([index[:, None], (index[:, None] + shift) % len(bank)], dim=1)


@op
def random_rows(
    like: Tensor, *, count: Count | None = None, share: Fraction | None = None, generator: torch.Generator
) -> Tensor:
    """Places of ``count`` rows of ``like`` [rows, ...], or of a ``share`` of them: [chosen] (int64, ascending).

    Drawn without replacement; a share gives one row at least; without either, all.

    >>> rows = ops.random_rows(torch.zeros(10, 3), share=0.3, generator=torch.Generator().manual_seed(0))
    >>> rows.shape, bool((rows.diff() > 0).all())
    (torch.Size([3]), True)
    """
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
    """Add Laplace noise to soft targets where a mask says so, clip at 0 and renormalise (Li et al., 2022).

    The noise has the scale ``1 / (epsilon · classes)``: the smaller ``epsilon``, the noisier. ``probabilities`` [...,
    classes], ``mask`` [...] (bool). Rows sum to 1 again; a row that loses all its mass becomes uniform.

    >>> targets, mask = torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.tensor([False, True])
    >>> noisy = ops.laplace_soft_targets(targets, mask, epsilon=0.5, generator=torch.Generator().manual_seed(0))
    >>> noisy[0], noisy.sum(1)
    (tensor([0.9000, 0.1000]), tensor([1., 1.]))
    """
    classes = probabilities.shape[-1]
    shape = probabilities.shape
    half = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64) - 0.5
    noise = -half.sign() * (-2 * half.abs()).clamp_min(-1 + 1e-12).log1p() / (epsilon * classes)
    noisy = (probabilities + noise.to(probabilities)).clamp_min(0)
    total = noisy.sum(-1, keepdim=True)
    noisy = torch.where(total > 0, noisy / total.clamp_min(1e-30), torch.full_like(noisy, 1 / classes))
    return torch.where(mask.unsqueeze(-1), noisy, probabilities)
