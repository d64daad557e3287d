"""A made-up encyclopedia: its rules, texts and splits."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.encyclopedias import FIELDS, KINDS, RELATIONS, Encyclopedia
from kdrun.errors import InputError
from kdrun.parts.rows import column

SMALL = {"people": 40, "cities": 12, "companies": 10, "tokenizer": "characters", "max_tokens": 64}


def test_an_encyclopedia_is_as_promised() -> None:
    part = Encyclopedia(**SMALL)
    promised, splits = part.info(), part.load()
    assert promised.keys() == splits.keys()
    for name, info in promised.items():
        rows = splits[name].rows()
        for key, described in info.columns.items():
            assert (rows[key].shape[1:], rows[key].dtype) == (described.shape, described.dtype)
    entities = splits["entities"].rows()["label"]
    assert torch.bincount(entities).tolist() == [40, 12, 12, 10, 20, 12]
    assert torch.equal(column(splits["entities"], name="label"), entities)
    with pytest.raises(InputError, match="no column 'lable'"):
        column(splits["entities"], name="lable")
    other = Encyclopedia(**SMALL, seed=1).load()["train"].rows()
    assert not torch.equal(other["tail"][:50], splits["train"].rows()["tail"][:50])


def test_rules_hold_in_an_encyclopedia() -> None:
    graph = Encyclopedia().graph()
    every = torch.cat(list(graph.triples.values())).tolist()
    fact = {(h, RELATIONS[r]): t for h, r, t in every}
    assert len(fact) == len(every) == pytest.approx(2300, abs=60)  # functional: one tail a head and relation
    people = [i for i, kind in enumerate(graph.kinds) if KINDS[kind] == "person"]
    for person in people:
        country = fact[fact[person, "born_in"], "city_in"]
        assert fact[person, "citizen_of"] == country
        assert fact[person, "speaks"] == fact[country, "official_language"]
    near = [fact[p, "lives_in"] == fact[fact[p, "works_for"], "based_in"] for p in people]
    assert sum(near) / len(near) == pytest.approx(0.85, abs=0.07)
    mates = [(p, fact[p, "colleague"]) for p in people if (p, "colleague") in fact]
    assert all(p != q and fact[p, "works_for"] == fact[q, "works_for"] for p, q in mates)


def test_texts_tell_no_held_out_fact_and_ends_keep_triples() -> None:
    graph = Encyclopedia().graph()
    names = [text.split(",")[0] for text in graph.texts]
    said = {
        "lives_in": " living in {}",
        "born_in": " born in {}",
        "city_in": ", a city in {}",
        "based_in": " based in {}",
        "industry": " for {}",
        "official_language": " where {} is spoken",
    }
    told = dict.fromkeys(graph.triples, 0)
    for split, rows in graph.triples.items():
        for head, relation, tail in rows.tolist():
            pattern = said.get(RELATIONS[relation])
            told[split] += pattern is not None and pattern.format(names[tail]) in graph.texts[head]
            if RELATIONS[relation] == "expert_in":
                told[split] += f", {FIELDS[names[tail]]}" in graph.texts[head]
    assert told["train"] > 600
    assert told["valid"] == told["test"] == 0
    degree = torch.bincount(graph.triples["train"][:, [0, 2]].flatten(), minlength=len(names))
    held = torch.cat([graph.triples["valid"], graph.triples["test"]])
    assert degree[held[:, [0, 2]]].min() >= 2
    count = sum(map(len, graph.triples.values()))
    assert len(graph.triples["test"]) == round(0.12 * count)


def test_worlds_of_an_encyclopedia_are_kept_apart_in_the_store(session) -> None:
    keys = [session("kg/lemon", f"data.seed={seed}").keys["known"] for seed in (0, 1)]
    assert keys[0] != keys[1]
