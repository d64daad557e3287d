"""Masks put on, begun from a neighbour's, and asked whose a weight is."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from kdrun import optim
from kdrun.models.supermasks import SupermaskNetwork
from kdrun.parts.supermasks import supermask_network, supermask_overlap, supermask_ownership, supermask_transfer
from support.contexts import stage_context
from support.data import dataset
from support.models import make
from support.tensors import generator, rows

INSIDE = {"hidden": [32], "in_features": 6, "num_classes": 3}


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return rows(*shape, seed=seed).float()


def masked(tasks: int = 3, density: float = 0.3) -> SupermaskNetwork:
    network = supermask_network(make("mlp", **INSIDE), tasks=tasks, density=density, generator=generator())
    assert isinstance(network, SupermaskNetwork)
    return network


def task(number: int, count: int = 60, shift: float = 0.0):
    image = numbers(count, 6, seed=number) + shift
    label = image[:, [number, number + 1, number + 2]].argmax(1)
    return dataset(3, image=image, label=label, task=torch.full((count,), number))


def test_weights_are_signed_constants_of_their_fan() -> None:
    plain = make("mlp", **INSIDE)
    network = supermask_network(plain, tasks=2, generator=generator())
    known = dict(plain.named_parameters())
    for name, weight in network.base.named_parameters():
        if name.endswith("weight"):
            torch.testing.assert_close(weight, known[name].sign() * (2 / weight.shape[1]) ** 0.5)
    for scores in network.scores.values():
        bound = 1 / scores[0][0].numel() ** 0.5  # Kaiming-uniform with a = sqrt 5
        assert 0.8 * bound < scores.abs().max() <= bound
        assert not torch.equal(scores[0], scores[1])


def test_what_a_task_owns_can_learn_without_a_bit_of_the_old_ones_moving() -> None:
    network, image = masked(), numbers(7, 6)
    said = lambda number: network.eval()(image, torch.full((7,), number)).detach().clone()  # noqa: E731
    before = [said(number) for number in range(3)]
    data = task(1)
    owned = supermask_ownership(network, data)
    assert 0 < supermask_overlap(network, data) < 1
    roles = {f"student.base.{n}": p for n, p in network.base.named_parameters() if p.requires_grad}
    adam = torch.optim.Adam(roles.values(), lr=0.01)
    batch = data.rows()
    for _ in range(5):
        loss = F.cross_entropy(network(batch["image"], batch["task"]), batch["label"])
        gradients = torch.autograd.grad(loss, list(roles.values()))
        for parameter, gradient in zip(
            roles.values(), optim.mask(dict(zip(roles, gradients, strict=True)), roles, owned).values(), strict=True
        ):
            parameter.grad = gradient
        adam.step()
    assert torch.equal(said(0), before[0])
    assert not torch.equal(said(1), before[1])


def test_without_exclusion_a_task_may_change_all_that_it_sees() -> None:
    network = masked()
    own = network.masks(torch.tensor(1))
    for name, mask in supermask_ownership(network, task(1), exclusive=False, prefix="").items():
        assert torch.equal(mask, own[name])
    first = supermask_ownership(network, task(0), prefix="")
    assert all(torch.equal(mask, network.masks(torch.tensor(0))[name]) for name, mask in first.items())
    assert supermask_overlap(network, task(0)) == 0


def test_a_new_task_starts_from_the_scores_that_neighbours_choose() -> None:
    network = masked(tasks=4, density=0.5)
    data = dataset(
        3,
        image=torch.cat([5 * torch.eye(3).repeat(40, 1), torch.zeros(120, 3)], dim=1) + 0.1 * numbers(120, 6),
        label=torch.arange(3).repeat(40),
        task=torch.full((120,), 3),
    )
    with torch.no_grad():
        for name, scores in network.scores.items():  # tasks 0 and 2 see nothing of the images' first half
            if name.startswith("body"):
                scores[[0, 2], :, :3] = 0.0
                scores[1, :, :3] = 1.0
    options = {"share": 1.0, "context": stage_context(), "generator": generator()}
    before = {name: scores.detach().clone() for name, scores in network.scores.items()}
    kept = supermask_transfer(network, data, choose="none", **options)
    assert all(torch.equal(kept.scores[name], scores) for name, scores in before.items())
    started = supermask_transfer(network, data, choose="best", **options)
    for name, scores in started.scores.items():
        assert torch.equal(scores[3], before[name][1])
        assert torch.equal(scores[:3], before[name][:3])
