"""Splits of a graph by entity: what is judged are facts about entities that no training fact mentions."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

__all__ = ["inductive_entity_split"]


def inductive_entity_split(
    triples: Tensor,
    entities: int,
    *,
    test: float,
    valid: float,
    least_neighbours: int = 2,
    least_edges: int = 100,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Triples and entities by split (Daza, Cochez & Groth, 2021): entities are dropped one by one, in random order, with their triples.

    ``triples`` [count, 3] (int64: head, relation, tail). The first dropped entities, the share ``test`` of all, are the test entities,
    the next ones, ``valid``, those of validation. One is only dropped if each of its neighbours keeps ``least_neighbours`` others, and
    each relation that it touches ``least_edges`` triples. A test triple has a test entity, whatever stands at its other end; a
    validation triple has a validation entity and no test entity. Gives triples [n, 3] and entities [n] (int64, ascending) by the
    name of the split; there are fewer of the latter where no more can be dropped.
    """
    graph = _Shrinking(triples, entities)
    wanted = [name for name, share in (("test", test), ("valid", valid)) for _ in range(round(share * entities))]
    of_entity = ["train"] * entities
    owner = ["train"] * len(triples)
    for entity in torch.randperm(entities, generator=generator).tolist():
        if wanted and graph.may_lose(entity, least_neighbours, least_edges):
            of_entity[entity] = wanted.pop(0)
            for number in graph.drop(entity):
                owner[number] = of_entity[entity]
    names = ("train", "valid", "test")
    found = {name: triples[torch.tensor([o == name for o in owner], dtype=torch.bool)] for name in names}
    return found, {name: torch.tensor([i for i, o in enumerate(of_entity) if o == name]).long() for name in names}


class _Shrinking:
    """A graph that loses entities: the triples that still touch each, its neighbours, and how many triples each relation has left."""

    def __init__(self, triples: Tensor, entities: int) -> None:
        self.rows = triples.tolist()
        self.touching: list[set[int]] = [set() for _ in range(entities)]
        self.neighbours: list[set[int]] = [set() for _ in range(entities)]
        self.left = Counter(relation for _, relation, _ in self.rows)
        for number, (head, _, tail) in enumerate(self.rows):
            for one, other in ((head, tail), (tail, head)):
                self.touching[one].add(number)
                self.neighbours[one].add(other)

    def may_lose(self, entity: int, least_neighbours: int, least_edges: int) -> bool:
        """Whether all neighbours, and all relations that it touches, keep enough without it."""
        if any(len(self.neighbours[other]) <= least_neighbours for other in self.neighbours[entity] - {entity}):
            return False
        used = Counter(self.rows[number][1] for number in self.touching[entity])
        return all(self.left[relation] - count >= least_edges for relation, count in used.items())

    def drop(self, entity: int) -> set[int]:
        """Take it away; gives the numbers of the triples that go with it."""
        gone = self.touching[entity]
        for number in gone:
            head, relation, tail = self.rows[number]
            self.left[relation] -= 1
            for other in {head, tail} - {entity}:
                self.touching[other].discard(number)
        for other in self.neighbours[entity] - {entity}:
            self.neighbours[other].discard(entity)
        self.touching[entity], self.neighbours[entity] = set(), set()
        return gone
