"""Texts made of the names of classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.data.knowledge_graphs import token_rows
from kdrun.errors import InputError
from kdrun.parts.prompts import class_prompts
from support.data import labelled


def named(*names: str) -> MemoryDataset:
    rows = labelled(7, classes=len(names))
    return MemoryDataset(rows.columns, replace(rows.info, class_names=names))


def test_there_is_a_text_for_each_name_however_many_rows_there_are() -> None:
    found = class_prompts(named("sea_lion", "cat"), template="a {}!", tokenizer="characters", max_tokens=14)
    assert torch.equal(found.column("tokens"), token_rows(["a sea lion!", "a cat!"], "characters", 14))
    assert found.column("label").tolist() == [0, 1]
    assert found.info.class_names == ("sea_lion", "cat")


def test_names_and_their_place_are_needed() -> None:
    with pytest.raises(InputError, match="does not name its classes"):
        class_prompts(labelled(4), tokenizer="characters")
    with pytest.raises(InputError, match="where the name of a class stands"):
        class_prompts(named("cat"), template="a cat", tokenizer="characters")
