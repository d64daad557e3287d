"""Triples (head, relation, tail) of a knowledge graph: scores of embeddings, and corrupted triples as negatives.

Samplers share one interface: triples [batch] in, ``{"head", "relation", "tail", "keep"}`` [batch, count] out. One end of
each triple is replaced, the same in all of its negatives. What happens to be a known triple is drawn once again,
and ``keep`` is false where it still is one. ``known`` is what ``triple_index`` gives.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import op
from kdrun.types import Count, Fraction

__all__ = [
    "UNIT",
    "bernoulli_negatives",
    "cluster_negatives",
    "inbatch_negatives",
    "known_answers",
    "known_triples",
    "triple_keys",
    "triple_score",
    "uniform_negatives",
]

UNIT = 1 << 31
"""A probability of 1 in the tables of ``cluster_neighbours``."""


@op
def triple_score(
    head: Tensor,
    relation: Tensor,
    tail: Tensor,
    *,
    function: Literal["transe", "distmult", "complex", "rotate", "simple"] = "distmult",
    norm: Literal[1, 2] = 1,
) -> Tensor:
    """Score of triples from vectors [..., dim] that broadcast to one shape: [...]; the higher, the likelier.

    - ``transe``: ``-‖h + r - t‖`` in the L1 or L2 ``norm`` (Bordes et al., 2013).
    - ``distmult``: ``Σ h r t`` (Yang et al., 2015); with tables of their own for heads and tails it is CP.
    - ``complex``: ``Re Σ h r conj(t)``; the halves of a vector are real and imaginary parts (Trouillon et al., 2016).
    - ``rotate``: ``-Σ |h e^{ir} - t|`` with complex ends and ``relation`` [..., dim/2] in radians (Sun et al., 2019).
    - ``simple``: ``½ Σ (h₁ r₁ t₂ + t₁ r₂ h₂)`` of halves: an entity as head and as tail (Kazemi & Poole, 2018).

    Raises ``InputError`` if a function that reads halves is given an odd width.

    >>> head, relation, tail = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0]), torch.tensor([1.5, 3.0])
    >>> ops.triple_score(head, relation, tail), ops.triple_score(head, relation, tail, function="transe")
    (tensor(6.7500), tensor(-0.))
    """
    if function == "transe":
        return -torch.linalg.vector_norm(head + relation - tail, ord=norm, dim=-1)
    if function == "distmult":
        return (head * relation * tail).sum(-1)
    if head.shape[-1] % 2:
        raise InputError(f"'{function}' reads vectors as two halves: the width {head.shape[-1]} is odd")
    (h1, h2), (t1, t2) = head.chunk(2, -1), tail.chunk(2, -1)
    if function == "rotate":
        cosine, sine = relation.cos(), relation.sin()
        apart = torch.stack([h1 * cosine - h2 * sine - t1, h1 * sine + h2 * cosine - t2])
        return -torch.linalg.vector_norm(apart, dim=0).sum(-1)
    r1, r2 = relation.chunk(2, -1)
    if function == "complex":
        return (r1 * (h1 * t1 + h2 * t2) + r2 * (h1 * t2 - h2 * t1)).sum(-1)
    return (h1 * r1 * t2 + t1 * r2 * h2).sum(-1) / 2


def triple_keys(head: Tensor, relation: Tensor, tail: Tensor, *, entities: int, relations: int) -> Tensor:
    """One number (int64) a triple, for shapes that broadcast: ``(head · relations + relation) · entities + tail``."""
    return (head * relations + relation) * entities + tail


def _contains(known: dict[str, Tensor], head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
    sizes = {"entities": len(known["degree"]), "relations": len(known["head_share"])}
    keys = triple_keys(head, relation, tail, **sizes)
    table = known["keys"]
    if len(table) == 0:
        return torch.zeros_like(keys, dtype=torch.bool)
    place = torch.searchsorted(table, keys).clamp_max(len(table) - 1)
    return table[place] == keys


@op
def known_triples(head: Tensor, relation: Tensor, tail: Tensor, known: dict[str, Tensor]) -> Tensor:
    """Whether each triple is in the index ``known``: bool of the shape of ``head``, ``relation`` and ``tail`` (int64).

    >>> known = {"keys": torch.tensor([1]), "degree": torch.ones(3), "head_share": torch.ones(1)}  # (0, 0, 1)
    >>> ops.known_triples(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1, 0]), known)
    tensor([ True, False])
    """
    return _contains(known, head, relation, tail)


@op
def known_answers(
    head: Tensor, relation: Tensor, tail: Tensor, known: dict[str, Tensor], *, side: Literal["head", "tail"] = "tail"
) -> Tensor:
    """Which entities make a known triple in place of one end of each triple: bool [batch, entities].

    ``head``, ``relation`` and ``tail`` [batch] (int64); the end at ``side`` is the one replaced, and is not read.

    >>> known = {"keys": torch.tensor([1]), "degree": torch.ones(3), "head_share": torch.ones(1)}  # (0, 0, 1)
    >>> ops.known_answers(torch.tensor([0]), torch.tensor([0]), torch.tensor([2]), known)
    tensor([[False,  True, False]])
    """
    every = torch.arange(len(known["degree"]), device=head.device)
    head, relation, tail = head[:, None], relation[:, None], tail[:, None]
    if side == "head":
        return _contains(known, every, relation, tail)
    return _contains(known, head, relation, every)


def _random(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(like.device)


def _whole(high: int, shape: tuple[int, ...], like: Tensor, generator: torch.Generator, low: int = 0) -> Tensor:
    return torch.randint(low, high, shape, generator=generator, device=generator.device).to(like.device)


def _others(entity: Tensor, count: int, entities: int, generator: torch.Generator) -> Tensor:
    """``count`` entities for each, all others alike: [batch, count]."""
    shift = _whole(max(entities, 2), (len(entity), count), entity, generator, low=1)
    return (entity[:, None] + shift) % entities


def _corrupted(
    head: Tensor, relation: Tensor, tail: Tensor, known: dict[str, Tensor], at_head: Tensor, drawn: Tensor
) -> dict[str, Tensor]:
    """Triples with one end replaced by the first half of the draws, or by the second where that is known.

    ``at_head`` [batch] (bool) says which end; ``drawn`` [batch, 2 · count].
    """
    side = at_head[:, None]
    count = drawn.shape[1] // 2
    heads, tails = torch.where(side, drawn, head[:, None]), torch.where(side, tail[:, None], drawn)
    true = _contains(known, heads, relation[:, None], tails)
    again, keep = true[:, :count], ~(true[:, :count] & true[:, count:])
    return {
        "head": torch.where(again, heads[:, count:], heads[:, :count]),
        "relation": relation[:, None].expand(-1, count),
        "tail": torch.where(again, tails[:, count:], tails[:, :count]),
        "keep": keep,
    }


def _drawn_from_all(
    head: Tensor,
    relation: Tensor,
    tail: Tensor,
    known: dict[str, Tensor],
    head_probability: Tensor | float,
    count: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Negatives whose head is replaced with a probability (a triple's own, [batch], or one for all), else the tail."""
    at_head = _random((len(head),), head, generator) < head_probability
    drawn = _others(torch.where(at_head, head, tail), 2 * count, len(known["degree"]), generator)
    return _corrupted(head, relation, tail, known, at_head, drawn)


@op
def uniform_negatives(
    head: Tensor,
    relation: Tensor,
    tail: Tensor,
    known: dict[str, Tensor],
    *,
    count: Count = 1,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """``count`` negatives a triple: head or tail, by a fair coin, replaced by any other entity, all alike.

    ``head``, ``relation`` and ``tail`` [batch] (int64). Fields ``head``, ``relation``, ``tail`` (int64) and ``keep``
    (bool), each [batch, count]; one coin a triple. What happens to be known is drawn once again, and not kept if it
    still is.

    >>> known = {"keys": torch.tensor([1]), "degree": torch.ones(3), "head_share": torch.ones(1)}  # (0, 0, 1)
    >>> triple, generator = (torch.tensor([0]), torch.tensor([0]), torch.tensor([1])), torch.Generator().manual_seed(0)
    >>> drawn = ops.uniform_negatives(*triple, known, count=8, generator=generator)
    >>> found = ops.known_triples(drawn["head"], drawn["relation"], drawn["tail"], known)
    >>> found.shape, bool((found & drawn["keep"]).any())
    (torch.Size([1, 8]), False)
    """
    return _drawn_from_all(head, relation, tail, known, 0.5, count, generator)


@op
def bernoulli_negatives(
    head: Tensor,
    relation: Tensor,
    tail: Tensor,
    known: dict[str, Tensor],
    *,
    count: Count = 1,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """As ``uniform_negatives``, the head with the relation's probability tph / (tph + hpt) (Wang et al., 2014).

    tph is the mean number of tails a head has under the relation, hpt that of heads a tail has: the end with fewer
    right answers is replaced more often. ``known["head_share"]`` [relations] holds these probabilities.

    >>> known = {"keys": torch.tensor([1]), "degree": torch.ones(3), "head_share": torch.ones(1)}  # always the head
    >>> triple, generator = (torch.tensor([0]), torch.tensor([0]), torch.tensor([1])), torch.Generator().manual_seed(0)
    >>> ops.bernoulli_negatives(*triple, known, count=4, generator=generator)["tail"]
    tensor([[1, 1, 1, 1]])
    """
    return _drawn_from_all(head, relation, tail, known, known["head_share"][relation], count, generator)


@op
def cluster_negatives(
    head: Tensor,
    relation: Tensor,
    tail: Tensor,
    known: dict[str, Tensor],
    candidates: dict[str, Tensor],
    *,
    count: Count = 1,
    share: Fraction = 1.0,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """As ``uniform_negatives``, with substitutes from the replaced entity's own list, each with probability ``share``.

    ``candidates`` are the lists that the stage part ``cluster_neighbours`` gives: ``members`` (int64), entity after
    entity, and their ``cumulative`` probabilities as multiples of 2⁻³¹, entity i in (i·2³¹, (i + 1)·2³¹]. The rest is
    drawn from all entities.

    >>> known = {"keys": torch.tensor([0]), "degree": torch.ones(3), "head_share": torch.ones(1)}
    >>> only = {"members": torch.tensor([2, 2, 1]), "cumulative": torch.tensor([1, 2, 3]) * 2**31}
    >>> triple, generator = (torch.tensor([0]), torch.tensor([0]), torch.tensor([1])), torch.Generator().manual_seed(0)
    >>> drawn = ops.cluster_negatives(*triple, known, only, count=3, generator=generator)
    >>> 2 in drawn["head"] or 2 in drawn["tail"]
    True
    """
    at_head = _random((len(head),), head, generator) < 0.5
    replaced, shape = torch.where(at_head, head, tail), (len(head), 2 * count)
    far = _others(replaced, 2 * count, len(known["degree"]), generator)
    wanted = replaced[:, None] * UNIT + _whole(UNIT, shape, head, generator)
    near = candidates["members"][torch.searchsorted(candidates["cumulative"], wanted, right=True)]
    drawn = torch.where(_random(shape, head, generator) < share, near, far)
    return _corrupted(head, relation, tail, known, at_head, drawn)


@op
def inbatch_negatives(relation: Tensor, *, count: Count = 1, generator: torch.Generator) -> dict[str, Tensor]:
    """``count`` negatives a triple whose ends stand in the batch already, as rows of all its ends (Daza et al., 2021).

    Of ``relation`` [batch] (int64) the length is read, and each is handed on. The ends of a batch are 2 · batch rows, head and tail of
    triple b at 2b and 2b + 1 (``merge_rows`` of them stacked). Head or tail, by a fair coin for each negative, is replaced by any row of
    another triple, all alike. Fields ``head`` and ``tail`` (rows), ``relation`` (int64) and ``keep`` (bool, true: what happens to be a fact
    is not looked for), each [batch, count]. Raises ``InputError`` for a batch of one triple.

    >>> drawn = ops.inbatch_negatives(torch.tensor([4, 5]), count=3, generator=torch.Generator().manual_seed(0))
    >>> at_head = drawn["tail"] == torch.tensor([[1], [3]])  # the tail is the triple's own, and the head one of the other triple
    >>> sorted({*drawn["head"][0][at_head[0]].tolist(), *drawn["tail"][0][~at_head[0]].tolist()} - {2, 3})
    []
    """
    batch = len(relation)
    if batch < 2:
        raise InputError("negatives out of the batch need a batch of two triples or more")
    own = 2 * torch.arange(batch, device=relation.device)[:, None].expand(-1, count)
    drawn = _whole(2 * batch - 2, (batch, count), relation, generator)
    drawn = drawn + 2 * (drawn >= own)
    at_head = _random((batch, count), relation, generator) < 0.5
    return {
        "head": torch.where(at_head, drawn, own),
        "relation": relation[:, None].expand(-1, count),
        "tail": torch.where(at_head, own + 1, drawn),
        "keep": torch.ones_like(at_head),
    }
