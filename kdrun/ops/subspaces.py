"""Subspaces of a layer's inputs: found, joined, projected onto, and re-used by scaling.

A weight is read as a matrix [outputs, inputs] (a convolution's kernel as [outputs, channels · kh · kw]); a basis is orthonormal,
[inputs, rank]; samples of inputs are columns, [inputs, samples].
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Fraction

__all__ = [
    "empty_subspaces",
    "joint_subspace",
    "leading_subspace",
    "orthonormal_union",
    "principal_axes",
    "scaled_weight_projection",
    "subspace_drift_penalty",
    "subspace_extend",
]


@op
def empty_subspaces() -> dict[str, Tensor]:
    """The memory of no task: what ``task_memory`` extends task by task (Lin et al., 2022).

    Fields: ``tasks``, their number, a scalar (int64).

    >>> ops.empty_subspaces()
    {'tasks': tensor(0)}
    """
    return {"tasks": torch.zeros((), dtype=torch.int64)}


def _rank_below(energies: Tensor, threshold: float) -> int:
    """How many leading energies have a cumulative share strictly below ``threshold``; at least one."""
    shares = energies.cumsum(0) / energies.sum().clamp_min(1e-30)
    return max(int((shares < threshold).sum()), 1)


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [dim], singular values and principal axes [axes, dim] of rows [rows, dim], by falling variance.

    Each axis points to where its largest entry is positive.
    """
    mean = rows.mean(0)
    _, singular, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return mean, singular, torch.where(largest < 0, -axes, axes)


@op
def leading_subspace(samples: Tensor, *, energy: Fraction = 0.97) -> Tensor:
    """Left singular vectors of samples whose cumulative energy stays strictly below ``energy``: [inputs, rank].

    At least one. ``samples`` [inputs, count] as columns; the energy of a vector is its squared singular value over the
    sum of all (Saha, Garg & Roy, 2021).

    >>> samples = torch.diag(torch.tensor([2.0, 1.0, 0.1]))
    >>> ops.leading_subspace(samples, energy=0.9).abs()
    tensor([[1.],
            [0.],
            [0.]])
    """
    left, values, _ = torch.linalg.svd(samples, full_matrices=False)
    return left[:, : _rank_below(values.square(), energy)]


@op
def subspace_extend(basis: Tensor, samples: Tensor, *, energy: Fraction = 0.97) -> Tensor:
    """A basis with the fewest new directions for which it holds ``energy`` of the samples (Saha, Garg & Roy, 2021, GPM).

    ``basis`` M [inputs, rank], ``samples`` A [inputs, count]; the result [inputs, rank + new]. New ones are the leading
    left singular vectors of ``(I - M Mᵀ) A``; none if the basis alone holds enough. A basis of rank 0 is that of a
    first task: ``leading_subspace``.

    >>> basis, samples = torch.tensor([[1.0], [0.0], [0.0]]), torch.diag(torch.tensor([1.0, 2.0, 0.1]))
    >>> ops.subspace_extend(basis, samples, energy=0.9).abs()
    tensor([[1., 0.],
            [0., 1.],
            [0., 0.]])
    >>> torch.equal(ops.subspace_extend(basis, basis), basis)  # nothing new
    True
    """
    if basis.shape[1] == 0:
        return leading_subspace(samples, energy=energy)
    total = samples.square().sum()
    residual = samples - basis @ (basis.T @ samples)
    held = (total - residual.square().sum()) / total
    if held >= energy:
        return basis
    left, values, _ = torch.linalg.svd(residual, full_matrices=False)
    shares = held + values.square().cumsum(0) / total
    count = int((shares < energy).sum()) + 1
    return torch.cat([basis, left[:, :count]], 1)


@op
def joint_subspace(basis: Tensor, samples: Tensor, *, energy: Fraction = 0.97) -> tuple[Tensor, Tensor]:
    """The subspace of a task among old and new directions, and the basis of all tasks (Lin et al., 2022).

    Old directions m of ``basis`` M [inputs, rank] with energy ``|Aᵀm|²`` and the singular vectors of ``(I - M Mᵀ) A``
    are sorted together, A being ``samples`` [inputs, count], and the first that reach ``energy`` of ``|A|²`` make up
    the task's [inputs, chosen]; the new ones among them join the basis [inputs, rank + new].

    >>> basis, samples = torch.tensor([[1.0], [0.0], [0.0]]), torch.diag(torch.tensor([0.1, 2.0, 0.1]))
    >>> own, joined = ops.joint_subspace(basis, samples, energy=0.9)
    >>> own.abs(), joined.shape
    (tensor([[0.],
            [1.],
            [0.]]), torch.Size([3, 2]))
    """
    if basis.shape[1] == 0:
        first = leading_subspace(samples, energy=energy)
        return first, first
    residual = samples - basis @ (basis.T @ samples)
    left, values, _ = torch.linalg.svd(residual, full_matrices=False)
    energies = torch.cat([(basis.T @ samples).square().sum(1), values.square()])
    order = energies.argsort(descending=True)
    reached = energies[order].cumsum(0) >= energy * samples.square().sum()
    count = int(reached.int().argmax()) + 1 if reached.any() else len(order)
    chosen = order[:count]
    new = left[:, chosen[chosen >= basis.shape[1]] - basis.shape[1]]
    return torch.cat([basis, left], 1)[:, chosen], torch.cat([basis, new], 1)


@op
def orthonormal_union(bases: list[Tensor]) -> Tensor:
    """An orthonormal basis [inputs, rank] of the span of several bases [inputs, rank_j].

    >>> x, y = torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    >>> ops.orthonormal_union([x, y, (x + y) / 2**0.5]).shape  # the third lies in the plane of the others
    torch.Size([3, 2])
    """
    joined = torch.cat(bases, 1)
    left, values, _ = torch.linalg.svd(joined, full_matrices=False)
    return left[:, values > 1e-5]


@op
def scaled_weight_projection(weight: Tensor, bases: list[Tensor], scales: list[Tensor]) -> Tensor:
    """What old tasks have learnt, re-used with a learned scaling (Lin et al., 2022, TRGP): [outputs, inputs].

    ``W + Σ_j W B_j (S_j - I) B_jᵀ``. ``weight`` [outputs, inputs], ``bases`` [inputs, rank_j], ``scales`` [rank_j,
    rank_j]; S = I leaves the weight as it is. Raises ``ValueError`` unless there is a scale a basis.

    >>> weight, basis = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [0.0]])
    >>> ops.scaled_weight_projection(weight, [basis], [torch.tensor([[3.0]])])  # the first input counts three times
    tensor([[3., 2.]])
    """
    result = weight
    for basis, scale in zip(bases, scales, strict=True):
        inside = weight @ basis
        result = result + (inside @ scale - inside) @ basis.T
    return result


@op
def subspace_drift_penalty(
    parameters: dict[str, Tensor], start: dict[str, Tensor], bases: dict[str, Tensor], *, prefix: str = ""
) -> Tensor:
    """``Σ |(W - W₀) B Bᵀ|_F`` over the layers that ``bases`` names (Lin et al., 2022): a scalar.

    ``parameters`` W and ``start`` W₀ map names to weights; ``bases`` maps ``prefix`` + a parameter's name to its basis
    [inputs, rank]; other entries are not read. The root has an epsilon of 1e-12.

    >>> start, moved = {"w": torch.zeros(1, 2)}, {"w": torch.tensor([[3.0, 4.0]])}
    >>> ops.subspace_drift_penalty(moved, start, {"w": torch.tensor([[1.0], [0.0]])})
    tensor(3.)
    """
    total = next(iter(parameters.values())).new_zeros(())
    for name, basis in bases.items():
        own = name.removeprefix(prefix)
        if name.startswith(prefix) and own in parameters and basis.numel():
            moved = (parameters[own] - start[own].to(basis)).flatten(1) @ basis
            total = total + (moved.square().sum() + 1e-12).sqrt()
    return total
