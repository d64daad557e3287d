"""Tokens as text: of data with words of its own, of characters, and of tokens that nothing tells."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.biographies import SyntheticBiographies
from kdrun.data.facts import FactBank
from kdrun.data.words import as_numbers, reader_of, relation_names
from support.data import dataset


def declared(data, source, split="train"):
    """The rows as a run loads them: they know what they come from."""
    data.origin = (source, split)
    return data


def test_facts_read_as_the_words_that_made_them() -> None:
    options = {"entities": 20, "train_entities": 8, "valid_entities": 4, "lines": 50}
    bank = FactBank(**options)
    statements = declared(bank.load()["statements"], {"data": "fact_bank", **options, "augment": []})
    text = reader_of(statements)(statements.rows()["tokens"][0])
    assert text.split()[-1] in ("job", "city", "the", "is", "has", "got", "make")
    assert all(word in bank.words for word in text.split())


def test_a_biography_names_the_person_that_the_row_is_about() -> None:
    options = {"people": 8, "forget_people": 2, "relations": 3, "contexts": 10}
    rows = declared(SyntheticBiographies(**options).load()["forget"], {"data": "synthetic_biographies", **options})
    read, columns = reader_of(rows), rows.rows()
    for i in range(len(rows)):
        words = read(columns["tokens"][i]).split()
        person, relation = int(columns["person"][i]), int(columns["relation"][i])
        assert words[:4] == ["[Q]", f"person-{person}", f"relation-{relation}", "[A]"]
        assert words[4].startswith(f"value-{relation}-")


@pytest.mark.parametrize("lower", [True, False])
def test_characters_read_back_as_they_were(lower: bool) -> None:
    from kdrun.data.tokenizers import tokenizer

    rows = dataset(tokens=torch.tensor([[*tokenizer("characters", lower=lower).encode("a b9."), 0, -100]]))
    rows = declared(rows, {"data": "encyclopedia", "tokenizer": "characters"})
    assert reader_of(rows)(rows.rows()["tokens"][0]) == "a b9."
    assert relation_names(rows, 2) == ["city_in", "official_language"]


def test_tokens_of_which_nothing_is_known_are_numbers() -> None:
    rows = dataset(tokens=torch.tensor([[3, 0, -100]]))
    assert reader_of(rows) is as_numbers
    assert reader_of(rows)(rows.rows()["tokens"][0]) == "3 0"
    assert relation_names(rows, 1) == ["relation 0"]
