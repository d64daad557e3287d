"""How tasks relate by the subspaces of their inputs."""

from __future__ import annotations

import torch

from kdrun.models.continual import MultiHeadNetwork
from kdrun.parts.subspaces import _regime, scaled_projection, task_regimes


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
