"""Splits by entity."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.inductive_splits import inductive_entity_split
from support.tensors import generator


def graph(entities: int = 60, count: int = 400, seed: int = 0) -> torch.Tensor:
    draw = generator(seed)
    ends = torch.randint(entities, (count, 2), generator=draw)
    relation = torch.randint(3, (count, 1), generator=draw)
    return torch.cat([ends[:, :1], relation, ends[:, 1:]], 1)


@pytest.mark.parametrize("seed", range(3))
def test_new_entities_stand_in_no_earlier_triple(seed: int) -> None:
    whole = graph(seed=seed)
    triples, entities = inductive_entity_split(
        whole, 60, test=0.1, valid=0.1, least_neighbours=2, least_edges=20, generator=generator(seed)
    )
    assert [len(entities[name]) for name in ("train", "valid", "test")] == [48, 6, 6]
    assert sum(len(t) for t in triples.values()) == len(whole)
    ends = {name: t[:, [0, 2]] for name, t in triples.items()}
    test, valid = entities["test"], entities["valid"]
    assert torch.isin(ends["test"], test).any(1).all()
    assert torch.isin(ends["valid"], valid).any(1).all()
    assert not torch.isin(ends["valid"], test).any()
    assert not torch.isin(ends["train"], torch.cat([test, valid])).any()
    assert (torch.bincount(triples["train"][:, 1], minlength=3) >= 20).all()
    for entity in entities["train"].tolist():  # each keeps two neighbours
        touching = ends["train"][(ends["train"] == entity).any(1)]
        assert len(set(touching.flatten().tolist()) - {entity}) >= 2 or (touching == entity).all(1).any()


def test_what_holds_a_neighbour_or_a_relation_is_kept() -> None:
    line = torch.tensor([[0, 0, 1], [1, 0, 2]])
    options = {"test": 1.0, "valid": 0.0, "generator": generator()}
    kept = inductive_entity_split(line, 3, least_neighbours=1, least_edges=0, **options)[1]
    assert kept["test"].tolist() in ([0], [2])  # one end may go; then the two that are left hold each other
    assert inductive_entity_split(line, 3, least_neighbours=0, least_edges=2, **options)[1]["test"].tolist() == []
    free = inductive_entity_split(line, 3, least_neighbours=0, least_edges=0, **options)
    assert free[1]["test"].tolist() == [0, 1, 2]
    assert len(free[0]["test"]) == 2


def test_a_loop_counts_as_a_neighbour_of_its_own() -> None:
    looped = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 2], [2, 0, 2]])
    options = {"test": 1 / 3, "valid": 0.0, "least_neighbours": 1, "least_edges": 0}
    gone = {inductive_entity_split(looped, 3, **options, generator=generator(s))[1]["test"].item() for s in range(20)}
    assert gone == {0, 1, 2}  # 1 and 2 have their loops beside 0; without them 0 could not go
