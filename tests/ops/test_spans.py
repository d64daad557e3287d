"""Word pieces, mentions, and pooled spans."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from kdrun.ops.similarity import multi_similarity_loss
from kdrun.ops.spans import first_pieces, mention_starts, span_mean_pool
from kdrun.registry import catalog
from support.tensors import generator


def test_first_pieces_move_to_the_word_s_number() -> None:
    values = torch.arange(5.0).view(1, 5, 1).expand(1, 5, 2)
    first = torch.tensor([[False, True, False, True, True]])
    assert first_pieces(values, first)[0, :, 0].tolist() == [1, 3, 4, 0, 0]
    assert first_pieces(values[..., 0], first)[0].tolist() == [1, 3, 4, 0, 0]


def test_a_mention_ends_at_a_gap_a_new_first_word_and_another_type() -> None:
    tags = torch.tensor([[1, 2, 0, 2, 1, 1, 2, 4, 3, 4, -100]])
    start, inside = mention_starts(tags)
    assert inside[0].tolist() == [True, True, False, False, True, True, True, False, True, True, False]
    assert start[0][inside[0]].tolist() == [0, 0, 4, 5, 5, 8, 8]


def test_span_means_are_ordered_by_row_and_word_with_pseudo_mentions_between() -> None:
    rng = generator()
    states = torch.randn(2, 6, 3, generator=rng)
    tags = torch.tensor([[0, 0, 1, 2, 0, 0], [3, 0, 0, 0, 0, -100]])
    pseudo = torch.tensor([[1, 2, 1, 2, 2, 3], [1, 0, 1, 1, 2, 0]])
    found = span_mean_pool(states, tags, pseudo, values=torch.arange(12).view(2, 6))
    expected = [
        states[0, :2].mean(0),
        states[0, 2:4].mean(0),
        states[0, 5],
        states[1, 0],
        states[1, 2],
        states[1, 3:5].mean(0),
    ]
    assert torch.allclose(found["features"], torch.stack(expected))
    assert found["labels"].tolist() == [1, 0, 1, 0, 1, 1]
    assert found["values"].tolist() == [0, 2, 5, 6, 8, 9]
    assert span_mean_pool(states, tags)["labels"].tolist() == [1, 2]


def test_span_means_read_first_pieces_alone_and_pass_gradients() -> None:
    rng = generator()
    states = torch.randn(1, 5, 2, generator=rng, requires_grad=True)
    first = torch.tensor([[True, False, True, False, True]])
    tags = torch.tensor([[0, 1, 2, -100, -100]])
    found = span_mean_pool(states, tags, first=first)["features"]
    assert torch.allclose(found, states[:, [2, 4]].mean(1))
    found.sum().backward()
    assert states.grad[0].sum(1).tolist() == [0, 0, 1, 0, 1]


def test_text_without_mentions_gives_no_rows_and_no_loss() -> None:
    states = torch.randn(2, 3, 4, requires_grad=True)
    found = span_mean_pool(states, torch.zeros(2, 3, dtype=torch.int64))
    loss = multi_similarity_loss(found["features"], found["labels"])
    loss.backward()
    assert found["features"].shape == (0, 4)
    assert loss.item() == 0
    assert not states.grad.any()


def test_a_plan_counts_with_as_many_mentions_as_words() -> None:
    """What is said of the shape is what the op gives where every word is a mention, with a gradient to the states."""
    said = catalog().hook("shape_of", "op span_mean_pool").load()
    first = torch.ones(2, 3, dtype=torch.bool)
    inputs = {"tags": torch.ones(2, 3, dtype=torch.int64), "first": first, "values": torch.arange(6).view(2, 3)}
    found = span_mean_pool(torch.ones(2, 3, 4), **inputs)
    with FakeTensorMode(allow_non_fake_inputs=True):
        states = torch.empty(2, 3, 4, requires_grad=True)
        planned = said(states, **inputs)
        planned["features"].sum().backward()
        assert states.grad.shape == states.shape
    assert {n: (v.shape, v.dtype) for n, v in planned.items()} == {n: (v.shape, v.dtype) for n, v in found.items()}


def test_a_compiled_step_finds_the_same_mentions() -> None:
    tags = torch.tensor([[1, 2, 0, 3], [0, 5, 0, 0]])
    states = torch.randn(2, 4, 3, generator=generator())
    plain, compiled = (f(states, tags) for f in (span_mean_pool, torch.compile(span_mean_pool, backend="eager")))
    assert all(torch.equal(plain[name], compiled[name]) for name in ("features", "labels"))
