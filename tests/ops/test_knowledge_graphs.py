"""Scores of triples, and negatives that replace one end."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.ops.knowledge_graphs import (
    UNIT,
    bernoulli_negatives,
    cluster_negatives,
    inbatch_negatives,
    known_triples,
    triple_score,
    uniform_negatives,
)
from kdrun.parts.knowledge_graphs import triple_index
from support.knowledge_graphs import ENTITIES, LINE, lists, triples, vectors
from support.tensors import generator


def test_scores_are_highest_where_their_equation_holds() -> None:
    head, relation, tail = vectors(5, 8)
    for norm in (1, 2):
        assert triple_score(head, relation, head + relation, function="transe", norm=norm).abs().max() < 1e-12
        assert (triple_score(head, relation, tail, function="transe", norm=norm) < 0).all()
    angle = relation[:, :4]
    turned = torch.view_as_complex(head.view(5, 2, 4).transpose(1, 2).contiguous()) * torch.polar(
        torch.ones_like(angle), angle
    )
    there = torch.cat([turned.real, turned.imag], 1)
    assert triple_score(head, angle, there, function="rotate").abs().max() < 1e-12
    assert (triple_score(head, angle + 0.3, there, function="rotate") < -0.1).all()


def test_complex_scores_are_the_real_part_of_the_hermitian_product() -> None:
    head, relation, tail = vectors(5, 8)
    h, r, t = (torch.complex(x[:, :4], x[:, 4:]) for x in (head, relation, tail))
    expected = (h * r * t.conj()).sum(1).real
    assert torch.allclose(triple_score(head, relation, tail, function="complex"), expected)


def test_symmetry_is_that_of_each_function() -> None:
    head, relation, tail = vectors(6, 8)
    for function, symmetric in (("distmult", True), ("complex", False), ("simple", False), ("transe", False)):
        there = triple_score(head, relation, tail, function=function)
        back = triple_score(tail, relation, head, function=function)
        assert torch.allclose(there, back) == symmetric
    real = torch.cat([relation[:, :4], torch.zeros(6, 4)], 1)  # a real relation is symmetric, an imaginary one not
    assert torch.allclose(
        triple_score(head, real, tail, function="complex"), triple_score(tail, real, head, function="complex")
    )
    swapped = relation.roll(4, 1)  # SimplE's inverse relation
    assert torch.allclose(
        triple_score(head, relation, tail, function="simple"), triple_score(tail, swapped, head, function="simple")
    )


def test_scores_agree_with_those_of_pykeen() -> None:
    functional = pytest.importorskip("pykeen.nn.modules")
    head, relation, tail = vectors(4, 6)
    assert torch.allclose(
        functional.TransEInteraction(p=1)(head, relation, tail), triple_score(head, relation, tail, function="transe")
    )
    assert torch.allclose(functional.DistMultInteraction()(head, relation, tail), triple_score(head, relation, tail))
    h, r, t = (torch.complex(x[:, :3], x[:, 3:]) for x in (head, relation, tail))
    assert torch.allclose(
        functional.ComplExInteraction()(h, r, t), triple_score(head, relation, tail, function="complex")
    )


def one_to_many() -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    index = triple_index(triples([(0, 0, 1), (0, 0, 2)]))
    rows = [torch.tensor([x]).repeat(4000) for x in (0, 0, 1)]
    return index, rows


@pytest.mark.parametrize("part", [uniform_negatives, bernoulli_negatives])
def test_negatives_replace_one_end_by_any_other_entity(part) -> None:
    index, (head, relation, tail) = one_to_many()
    found = part(head, relation, tail, index, count=3, generator=generator())
    at_head, at_tail = found["head"] != 0, found["tail"] != 1
    assert not (at_head & at_tail).any()
    assert torch.equal(at_head.any(1), at_head.all(1))  # the same end in all negatives of a triple
    wanted = {uniform_negatives: 1 / 2, bernoulli_negatives: 2 / 3}[part]
    assert at_head.any(1).float().mean().item() == pytest.approx(wanted, abs=0.03)
    known = known_triples(found["head"], found["relation"], found["tail"], index)
    assert torch.equal(found["keep"], ~known)
    # (0, 0, 2) is drawn with 1 of 11, and stays with (1/11)²
    assert known[at_tail].float().mean().item() == pytest.approx(1 / 121, abs=0.005)
    counts = torch.bincount(found["head"][at_head], minlength=ENTITIES)[1:].float()
    assert (counts / counts.mean() - 1).abs().max() < 0.15


def shares(share: float, entity: int, **options) -> torch.Tensor:
    """How often each of seven entities on a line stands in for ``entity``, at the tail, whatever is known."""
    _, candidates = lists(LINE, [0, 0, 0, 1, 1, 1, 2], **options)
    index = {"keys": torch.empty(0).long(), "degree": torch.zeros(7), "head_share": torch.zeros(1)}
    rows = [torch.tensor([x]).repeat(20000) for x in (6, 0, entity)]
    found = cluster_negatives(*rows, index, candidates, count=1, share=share, generator=generator())
    at_tail = found["tail"][found["tail"] != entity]
    return torch.bincount(at_tail, minlength=7) / len(at_tail)


def test_substitutes_come_from_the_cluster_of_what_is_replaced() -> None:
    assert shares(1.0, 4).tolist() == pytest.approx([0, 0, 0, 0.5, 0, 0.5, 0], abs=0.02)
    assert shares(0.0, 4).tolist() == pytest.approx([1 / 6] * 4 + [0] + [1 / 6] * 2, abs=0.02)
    mixed = 0.75 / 6
    assert shares(0.25, 4)[[3, 5, 0]].tolist() == pytest.approx([mixed + 0.125, mixed + 0.125, mixed], abs=0.02)


def test_the_law_of_distance_prefers_near_ones() -> None:
    _, candidates = lists(LINE, [0, 0, 0, 1, 1, 1, 2], fallback=2, law="distance")
    ratio = math.exp(1 / 2)  # distances 1 and 2, and a median of 2 in all lists
    found = shares(1.0, 4, fallback=2, law="distance")
    assert (found[3] / found[5]).item() == pytest.approx(ratio, rel=0.05)
    assert candidates["cumulative"][-1].item() == 7 * UNIT
    assert (candidates["cumulative"].diff() > 0).all()


def test_negatives_of_the_batch_replace_one_end_by_a_row_of_another_triple() -> None:
    relation = torch.arange(5)
    drawn = inbatch_negatives(relation, count=4000, generator=generator())
    head, tail, own = drawn["head"], drawn["tail"], 2 * torch.arange(5)[:, None]
    at_head = tail == own + 1
    assert ((head == own) ^ at_head).all()  # one end is kept, the other replaced
    replaced = torch.where(at_head, head, tail)
    assert (replaced // 2 != own // 2).all()
    assert (drawn["relation"] == relation[:, None]).all()
    assert drawn["keep"].all()
    assert at_head.float().mean() == pytest.approx(0.5, abs=0.02)
    counts = torch.bincount(replaced[2], minlength=10)  # all eight rows of others alike
    assert (counts[[4, 5]] == 0).all()
    assert (counts[counts > 0] / 4000 - 1 / 8).abs().max() < 0.02
    with pytest.raises(InputError, match="two triples"):
        inbatch_negatives(relation[:1], generator=generator())
