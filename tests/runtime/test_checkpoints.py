"""States flattened for a checkpoint and back."""

from __future__ import annotations

import pytest
import torch

from kdrun.runtime.checkpoints import flatten, unflatten


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_optimizer_state_survives_flattening(name) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        options = {"momentum": 0.9} if name != "Adam" else {}
        return layer, getattr(torch.optim, name)(layer.parameters(), lr=0.1, **options)

    def steps(layer, optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()

    first, first_optimizer = make()
    steps(first, first_optimizer, 5)
    second, second_optimizer = make()
    steps(second, second_optimizer, 2)
    import json

    tensors, meta = flatten({"model": second.state_dict(), "optimizer": second_optimizer.state_dict()})
    state = unflatten({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(meta)))
    third, third_optimizer = make()
    third.load_state_dict(state["model"])
    third_optimizer.load_state_dict(state["optimizer"])
    steps(third, third_optimizer, 3)
    assert torch.equal(first.weight, third.weight)
