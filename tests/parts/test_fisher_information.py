"""Fisher information as squared gradients."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from kdrun.data.biographies import SyntheticBiographies
from kdrun.parts.fisher_information import diagonal_fisher
from support.contexts import stage_context
from support.data import dataset
from support.models import LINEAR_LAYERS, nano


def test_fisher_information_is_the_squared_gradient_weighted_by_tokens() -> None:
    sizes = {"people": 8, "others": 6, "values": 4, "forget_people": 2, "contexts": 50, "test_contexts": 20}
    data = SyntheticBiographies(**sizes).load()["retain"]
    model = nano()
    found = diagonal_fisher(model, data, of="linear", batch_size=9, context=stage_context())
    assert set(found) == {f"blocks.{i}.{m}.weight" for i in range(2) for m in LINEAR_LAYERS}
    whole = nano()
    expected, name = 0.0, "blocks.1.feed.0.weight"
    for rows in (slice(0, 9), slice(9, 18)):
        batch = {k: v[rows] for k, v in data.rows().items()}
        loss = F.cross_entropy(whole(batch["tokens"]).flatten(0, 1), batch["target"].flatten())
        expected = expected + torch.autograd.grad(loss, whole.get_parameter(name))[0].square() / 2
    assert torch.allclose(found[name], expected, rtol=1e-4, atol=1e-12)
    single = diagonal_fisher(nano(), data, batch_size=1, context=stage_context())
    assert set(single) == {n for n, _ in nano().named_parameters()}
    assert single[name].sum() > found[name].sum()  # the mean of squares is more than the square of means


def test_fisher_information_counts_labels_that_count() -> None:
    layer = nn.Linear(2, 2, bias=False)
    rows = {"tokens": torch.randn(2, 3, 2), "target": torch.tensor([[0, 1, 0], [1, -100, -100]])}
    data = dataset(**rows)
    found = diagonal_fisher(layer, data, batch_size=1, context=stage_context())["weight"]
    squares = []
    for i in range(2):
        loss = F.cross_entropy(layer(rows["tokens"][i]), rows["target"][i])
        squares.append(torch.autograd.grad(loss, layer.weight)[0].square())
    assert torch.allclose(found, (3 * squares[0] + squares[1]) / 4)
