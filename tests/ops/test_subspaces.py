"""Subspaces of layer inputs: what they hold, what they leave alone."""

from __future__ import annotations

import torch

from kdrun import ops


def samples(rank: int, seed: int, inputs: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(inputs, rank, generator=generator) @ torch.randn(rank, 50, generator=generator)


def orthonormal(basis: torch.Tensor) -> bool:
    return torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-5)


def test_a_leading_subspace_stays_below_its_energy() -> None:
    a = samples(8, 0)
    basis = ops.leading_subspace(a, energy=0.9)
    held = (basis.T @ a).square().sum() / a.square().sum()
    more = torch.linalg.svd(a)[0][:, : basis.shape[1] + 1]
    assert orthonormal(basis)
    assert held < 0.9 <= (more.T @ a).square().sum() / a.square().sum()


def test_extension_adds_the_fewest_directions() -> None:
    old, a = ops.leading_subspace(samples(2, 0), energy=1.0), samples(5, 1)
    grown = ops.subspace_extend(old, a, energy=0.95)
    assert orthonormal(grown)
    assert torch.equal(grown[:, : old.shape[1]], old)
    share = [(b.T @ a).square().sum() / a.square().sum() for b in (grown[:, :-1], grown)]
    assert share[0] < 0.95 <= share[1]
    assert torch.equal(ops.subspace_extend(grown, a, energy=0.95), grown)


def test_the_joint_rule_takes_old_directions_too() -> None:
    old = ops.leading_subspace(samples(2, 0), energy=1.0)
    a = samples(5, 1) + 3 * old @ old.T @ samples(5, 2)
    own, merged = ops.joint_subspace(old, a, energy=0.9)
    assert orthonormal(own)
    assert orthonormal(merged)
    assert (own.T @ a).square().sum() / a.square().sum() >= 0.9 - 1e-5
    assert torch.equal(merged[:, : old.shape[1]], old)
    assert own.shape[1] < old.shape[1] + merged.shape[1]


def test_the_union_is_orthonormal_where_bases_overlap() -> None:
    first = ops.leading_subspace(samples(3, 0), energy=1.0)
    union = ops.orthonormal_union([first, first])
    assert union.shape == first.shape
    assert torch.allclose(union @ union.T, first @ first.T, atol=1e-5)


def test_scaling_by_identity_changes_nothing_and_by_zero_removes() -> None:
    weight, basis = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), ops.leading_subspace(samples(3, 0))
    rank = basis.shape[1]
    assert torch.allclose(ops.scaled_weight_projection(weight, [basis], [torch.eye(rank)]), weight, atol=1e-6)
    without = ops.scaled_weight_projection(weight, [basis], [torch.zeros(rank, rank)])
    assert (without @ basis).abs().max() < 1e-5


def test_drift_counts_movement_inside_the_subspace_alone() -> None:
    basis = ops.leading_subspace(samples(3, 0))
    start = {"w": torch.zeros(2, 8)}
    inside, outside = torch.ones(2, 8) @ basis @ basis.T, torch.ones(2, 8) @ (torch.eye(8) - basis @ basis.T)
    bases = {"free.w": basis, "other": basis}
    assert torch.allclose(
        ops.subspace_drift_penalty({"w": inside}, start, bases, prefix="free."), inside.norm(), atol=1e-4
    )
    assert ops.subspace_drift_penalty({"w": outside}, start, bases, prefix="free.") < 1e-4
