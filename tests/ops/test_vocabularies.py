"""Predictions over two vocabularies: places, entries and pieces of text."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from kdrun.ops.divergences import kl_divergence
from kdrun.ops.vocabularies import (
    aligned_places,
    at_places,
    common_spans,
    shared_entry_divergence,
    sorted_probability_distance,
    span_likelihood_divergence,
    unshared_mass,
)
from support.tensors import generator

# Two ways to cut "a rose is": a| |ro|s|e i|s and a |r|ose| |is, the second with padding behind it.
ENDS = torch.tensor([[1, 2, 4, 5, 8, 9]])
OTHER = torch.tensor([[2, 3, 6, 7, 9, -1, -1]])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2.0 * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_places_are_those_where_both_have_read_the_same_text() -> None:
    places = aligned_places(ENDS, OTHER)
    assert places.tolist() == [[-1, 0, -1, -1, -1]]  # both end at 9, too, but there is nothing to predict behind it
    assert aligned_places(ENDS, ENDS).tolist() == [[0, 1, 2, 3, 4]]
    values = random(1, 7, 3)
    assert torch.equal(at_places(values, places)[0, 1], values[0, 0])
    assert not at_places(values, places)[0, [0, 2, 3, 4]].any()


def test_parts_of_a_character_and_padding_are_aligned_with_nothing() -> None:
    first, second = torch.tensor([[-1, 1, 2, -1]]), torch.tensor([[1, -1, 2, -1]])
    assert aligned_places(first, second).tolist() == [[-1, 0, -1]]  # behind 2, the last end, nothing is predicted
    assert aligned_places(torch.tensor([[1, 2, 3]]), torch.tensor([[-1, 2, 3]])).tolist() == [[-1, 1]]


def test_pieces_are_cut_where_both_tokens_end() -> None:
    """Common ends are 2 and 9: one piece, "rose is", of four tokens here and of four there."""
    found = common_spans(ENDS, OTHER)
    assert found["spans"].tolist() == [[-1, 0, 0, 0, 0]]
    assert found["other_spans"].tolist() == [[0, 0, 0, 0, -1, -1]]


def test_pieces_of_one_number_are_the_same_text() -> None:
    chosen = torch.Generator().manual_seed(0)
    for _ in range(50):
        cuts = [sorted({12, *torch.randint(1, 12, (6,), generator=chosen).tolist()}) for _ in range(2)]
        ends = [torch.tensor([[*own, *[-1] * (9 - len(own))]]) for own in cuts]
        found = common_spans(*ends)
        texts = []
        for own, spans in zip(cuts, (found["spans"], found["other_spans"]), strict=True):
            read: dict[int, list[int]] = {}
            for target, span in enumerate(spans[0, : len(own) - 1].tolist(), 1):
                if span >= 0:
                    read.setdefault(span, []).extend(range(own[target - 1], own[target]))
            texts.append(read)
            assert (spans[0, len(own) - 1 :] == -1).all()
        assert texts[0] == texts[1]
        common = sorted(set(cuts[0]) & set(cuts[1]))
        assert [place for span in texts[0].values() for place in span] == list(range(common[0], common[-1]))


def test_sorted_distances_forget_what_is_said_and_keep_how_surely() -> None:
    student, teacher = random(4, 6), random(4, 9, seed=1)
    found = sorted_probability_distance(student, teacher, reduction="none")
    p, q = teacher.softmax(-1), torch.cat([student.softmax(-1), torch.zeros(4, 3)], -1)
    brute = (p.sort(descending=True).values - q.sort(descending=True).values).abs().sum(-1)
    torch.testing.assert_close(found, brute)
    order = torch.randperm(6, generator=generator(2))
    torch.testing.assert_close(sorted_probability_distance(student[:, order], teacher, reduction="none"), found)
    torch.testing.assert_close(
        sorted_probability_distance(student, teacher, found > found.median()), found[found > found.median()].mean()
    )
    sure, unsure = torch.tensor([[500.0, 0.0]]), torch.zeros(1, 1000)
    assert sorted_probability_distance(sure, unsure).item() == pytest.approx(2 * (1 - 1 / 1000))


@pytest.mark.parametrize("rest", ["conditional", "bucket"])
def test_over_one_vocabulary_shared_entries_are_the_whole_divergence(rest) -> None:
    student, teacher = random(3, 5), random(3, 5, seed=1)
    order = torch.randperm(5, generator=generator(2))
    found = shared_entry_divergence(student, teacher[:, order], order, temperature=2.0, rest=rest)
    torch.testing.assert_close(found, kl_divergence(student, teacher, temperature=2.0), atol=1e-9, rtol=1e-9)


def test_shared_entries_split_the_divergence_into_what_is_said_and_how_much() -> None:
    """By the chain rule: between the buckets, and inside of the shared one."""
    student, teacher, entries = random(3, 5), random(3, 7, seed=1), torch.tensor([1, -1, 4, -1, -1, 1, -1])
    p, q = teacher.softmax(-1), student.softmax(-1)
    mass_p, mass_q = p[:, [0, 2, 5]].sum(-1), q[:, [1, 4]].sum(-1)
    inner = torch.stack([(p[:, 0] + p[:, 5]) / mass_p, p[:, 2] / mass_p], -1)
    own = q[:, [1, 4]] / mass_q[:, None]
    said = mass_p * (inner * (inner / own).log()).sum(-1)
    much = mass_p * (mass_p / mass_q).log() + (1 - mass_p) * ((1 - mass_p) / (1 - mass_q)).log()
    torch.testing.assert_close(shared_entry_divergence(student, teacher, entries, reduction="none"), said)
    whole = shared_entry_divergence(student, teacher, entries, rest="bucket", reduction="none")
    torch.testing.assert_close(whole, said + much)
    torch.testing.assert_close(unshared_mass(teacher, entries), 1 - mass_p)


def test_pieces_are_compared_as_two_outcomes() -> None:
    student, teacher = random(1, 3, 4), random(1, 2, 6, seed=1)
    targets, others = torch.tensor([[1, 2, -100]]), torch.tensor([[5, 0]])
    spans, pieces = torch.tensor([[0, 0, -1]]), torch.tensor([[0, 0]])
    q = (student[0, 0].softmax(-1)[1] * student[0, 1].softmax(-1)[2]) ** (1 / 3)
    p = (teacher[0, 0].softmax(-1)[5] * teacher[0, 1].softmax(-1)[0]) ** (1 / 3)
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    found = span_likelihood_divergence(student, targets, spans, teacher, others, pieces, temperature=3.0)
    torch.testing.assert_close(found, expected)
    assert span_likelihood_divergence(student, targets, spans, student, targets, spans).item() == pytest.approx(
        0, abs=1e-12
    )
    sure = torch.tensor([[[200.0, 0.0]]])
    one, zero = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)
    assert math.isfinite(span_likelihood_divergence(sure, one, zero, sure - 300, one, zero).item())


def test_gradients_are_right_and_finite() -> None:
    student, teacher = random(2, 3, 4).requires_grad_(), random(2, 3, 5, seed=1)
    entries, ids = torch.tensor([0, -1, 2, 2, -1]), torch.tensor([[1, 2, 0], [3, 0, 1]])
    spans = torch.tensor([[0, 0, 1], [-1, 0, 0]])
    assert gradcheck(lambda s: sorted_probability_distance(s, teacher), student)
    for rest in ("conditional", "bucket"):
        assert gradcheck(lambda s, rest=rest: shared_entry_divergence(s, teacher, entries, rest=rest), student)
    assert gradcheck(lambda s: span_likelihood_divergence(s, ids, spans, teacher, ids, spans, temperature=5.0), student)
