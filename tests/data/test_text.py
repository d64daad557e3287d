"""Corpora of text in blocks, from this interpreter's docstrings or a folder."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.docstrings import docstrings
from kdrun.data.text import TextCorpus
from kdrun.errors import DataError
from support.text import SMALL, assert_text_as_promised, text_of


def test_blocks_join_to_the_text_and_targets_are_one_ahead() -> None:
    splits = assert_text_as_promised(TextCorpus(**SMALL, block=32))
    assert text_of(splits["train"]) == docstrings(800, 800, 4000)[2].lower()[: len(splits["train"]) * 32 + 1]
    rows = splits["train"].rows()
    assert torch.equal(rows["target"][:, :-1], rows["tokens"][:, 1:])
    assert torch.equal(rows["target"][:-1, -1], rows["tokens"][1:, 0])
    assert not rows["secret"].any()


def test_a_folder_is_read_by_split_and_a_missing_split_is_named(tmp_path) -> None:
    (tmp_path / "train.txt").write_text("x" * 50)
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "a.txt").write_text("y" * 20)
    part = TextCorpus(source="folder", root=str(tmp_path), block=8)
    with pytest.raises(DataError, match=r"no text for the split 'test': expected .*/test.txt"):
        part.load()
    before = part.fingerprint()
    (tmp_path / "test.txt").write_text("z" * 20)
    assert part.fingerprint() != before
    assert text_of(assert_text_as_promised(part)["train"]) == "x" * 49
    with pytest.raises(DataError, match="fills no block of 64"):
        TextCorpus(source="folder", root=str(tmp_path)).load()


def test_what_a_corpus_lacks_is_said() -> None:
    with pytest.raises(DataError, match="needs its number of tokens"):
        TextCorpus(tokenizer="gpt2")
    with pytest.raises(DataError, match="needs data.root"):
        TextCorpus(source="folder")
    with pytest.raises(DataError, match="neither 'characters', a folder"):
        TextCorpus(**SMALL, tokenizer="/no/such/folder", vocabulary=9).load()
    with pytest.raises(DataError, match=r"one \{secret\}"):
        CanaryCorpus(templates=["no place"])
    with pytest.raises(DataError, match="as many names"):
        CanaryCorpus(canaries=3, names=["a"])
