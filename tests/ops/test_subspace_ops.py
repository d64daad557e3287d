"""Subspaces of layer inputs: what they hold, what they leave alone."""

from __future__ import annotations

import torch

from kdrun import ops
from kdrun.models.continual import MultiHeadNetwork
from kdrun.parts.subspaces import _regime, scaled_projection, task_regimes


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


def test_regimes_follow_projection_and_correlation() -> None:
    basis = torch.eye(4)[:, :2]
    memory = {"tasks": torch.tensor(1), "basis.0.w": basis, "gradient.0.w": torch.tensor([[1.0, 0.0, 0.0, 0.0]])}
    cases = {
        "orthogonal": [[0.1, 0.0, 1.0, 1.0]],
        "forward": [[-1.0, 0.5, 0.0, 0.0]],
        "backward": [[1.0, 0.5, 0.0, 0.0]],
    }
    for number, gradient in enumerate(cases.values()):
        found = task_regimes({"w": torch.tensor(gradient)}, memory)
        assert found["pairs"].tolist() == [float(i == number) for i in range(3)]
        assert found["student.base.w"].shape[1] == (0 if number == 2 else 2)
        assert found["free.student.base.w"].shape[1] == (2 if number == 2 else 0)
        assert found["scaled.w"].tolist() == ([] if number == 0 else [0])
    assert _regime(True, True, ["orthogonal"], None) == "orthogonal"
    assert _regime(True, True, ["orthogonal", "forward"], None) == "forward"
    assert _regime(True, True, [], None) is None


def test_a_wrapped_network_answers_as_before() -> None:
    network = MultiHeadNetwork(hidden=[6, 5], tasks=2, num_classes=3, in_channels=1, image_size=2)
    network.kdrun_spec = {
        "model": "multi_head_network",
        "hidden": [6, 5],
        "tasks": 2,
        "num_classes": 3,
        "in_channels": 1,
        "image_size": 2,
    }
    names = ("body.1.weight", "body.3.weight")
    memory = {f"basis.0.{n}": torch.eye(i)[:, :2] for n, i in zip(names, (4, 6), strict=True)}
    regimes = {f"scaled.{n}": torch.tensor([0]) for n in names}
    wrapped = scaled_projection(network, memory, regimes)
    image, task = torch.randn(3, 1, 2, 2), torch.tensor([0, 1, 1])
    assert torch.allclose(wrapped(image, task), network(image, task), atol=1e-6)
    with torch.no_grad():
        wrapped.scales["body/1/weight/0"].zero_()
    assert not torch.allclose(wrapped(image, task), network(image, task), atol=1e-3)
