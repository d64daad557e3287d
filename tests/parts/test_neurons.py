"""Neurons by integrated gradients: complete over a layer, and switched off."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.ops.language import sequence_log_likelihood
from kdrun.parts.neurons import integrated_gradient_neurons, without_neurons
from support.contexts import stage_context
from support.data import dataset
from support.models import causal
from support.tensors import generator

LAYERS = ("blocks.0.feed.2", "blocks.1.feed.2")


def questions(rows: int = 3, places: int = 1):
    tokens = torch.randint(11, (rows, 6), generator=generator())
    answer = torch.full((rows, 6), -100)
    answer[:, -places:] = torch.randint(11, (rows, places), generator=torch.Generator().manual_seed(5))
    return dataset(11, tokens=tokens, answer=answer)


def scores(data, **options):
    return integrated_gradient_neurons(causal(0), data, modules=["feed.2"], context=stage_context(), **options)


@pytest.mark.parametrize("places", [1, 2])
def test_scores_of_a_layer_sum_to_what_the_answer_loses_without_it(places) -> None:
    data = questions(places=places)
    rows = data.rows()
    found = scores(data, intervals=400, batch_size=2)
    assert tuple(found) == LAYERS
    model = causal(0)
    full = sequence_log_likelihood(model(rows["tokens"]), rows["answer"]).exp()
    for path, score in found.items():
        assert score.shape == (3, 64)
        where = (rows["answer"] != -100)[:, :, None]
        handle = model.get_submodule(path).register_forward_pre_hook(
            lambda _, inputs, w=where: (inputs[0].where(~w, 0.0),)
        )
        none = sequence_log_likelihood(model(rows["tokens"]), rows["answer"]).exp()
        handle.remove()
        assert torch.allclose(score.sum(1), full - none, atol=2e-3)
        assert (full - none).abs().max() > 0.02


def test_scores_do_not_depend_on_the_batches() -> None:
    data = questions()
    one, all_at_once = scores(data, batch_size=1), scores(data, batch_size=3)
    assert all(torch.allclose(one[path], all_at_once[path], atol=1e-6) for path in LAYERS)


def test_neurons_that_matter_in_many_rows_give_nothing_afterwards() -> None:
    table = {path: torch.zeros(4, 64) for path in LAYERS}
    table[LAYERS[0]][:, 3] = 1.0  # the largest in every row
    table[LAYERS[0]][:2, 5] = 0.5  # in half of them
    table[LAYERS[1]][:1, 7] = 0.9  # in one
    table[LAYERS[1]][:, 9] = 0.09  # below a tenth
    model = without_neurons(causal(0), table, count=10)
    for path in LAYERS:
        gone = (model.get_submodule(path).weight == 0).all(0).nonzero().flatten().tolist()
        assert gone == ([3, 5] if path == LAYERS[0] else [])
    best = without_neurons(causal(0), table, count=1).get_submodule(LAYERS[0])
    assert (best.weight == 0).all(0).nonzero().flatten().tolist() == [3]
    with pytest.raises(InputError, match="no linear layer 'blocks.9"):
        without_neurons(causal(0), {"blocks.9.feed.2": table[LAYERS[0]]})
    with pytest.raises(InputError, match="is called 'fed.2'"):
        integrated_gradient_neurons(causal(0), questions(), modules=["fed.2"], context=stage_context())
