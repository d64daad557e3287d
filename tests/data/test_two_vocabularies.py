"""One text in the tokens of two vocabularies."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.byte_pairs import BytePairs
from kdrun.data.tokenizers import tokenizer
from kdrun.data.two_vocabularies import AlignedText
from kdrun.errors import DataError
from kdrun.ops.vocabularies import aligned_places
from kdrun.parts.vocabularies import nearest_entries
from support.contexts import stage_context
from support.data import assert_as_promised
from support.text import SMALL

TWO = {**SMALL, "row": 40, "block": 40, "teacher_block": 30, "teacher_vocabulary": 130}


def test_pairs_that_stand_together_most_often_become_one() -> None:
    """As counted by hand: in "abab ab" the pair "ab" stands three times; then " ab" and "abab" once each, and a space has the lower id."""
    made = BytePairs.trained("abab ab", 74)
    assert made.pieces()[71:] == ["ab", " ab", "abab"]
    assert made.encode("abab abab") == [73, 72, 71]
    assert BytePairs.trained("ab", 90).pieces()[71:] == ["ab"]


def test_text_returns_from_byte_pairs_with_its_ends() -> None:
    text = "a line of 2 words,\n  and more of words:\n{x}"
    made = BytePairs.trained(text * 3, 90)
    ids, ends = made.encode_with_ends(text)
    assert "".join(made.pieces()[i] for i in ids) == text
    assert [text[:end] for end in ends] == ["".join(made.pieces()[j] for j in ids[: i + 1]) for i in range(len(ids))]
    assert len(ids) < len(text)
    assert made.encode_with_ends("é")[0] == [0]


def test_rows_hold_the_same_text_twice() -> None:
    splits = assert_as_promised(AlignedText(**TWO))
    rows = splits["train"].rows()
    pieces = tokenizer("characters").pieces()
    words = BytePairs.trained("".join(AlignedText(**TWO)._texts()["train"]), 130).pieces()
    for row in range(5):
        own = [pieces[i] for i in rows["tokens"][row][rows["mask"][row]].tolist()]
        other = [words[i] for i in rows["teacher_tokens"][row][rows["teacher_mask"][row]].tolist()]
        assert "".join(own).startswith("".join(other)) or "".join(other).startswith("".join(own))
        places = aligned_places(rows["ends"][row : row + 1], rows["teacher_ends"][row : row + 1])[0]
        assert (places >= 0).sum() >= len(other) - 1  # each of the teacher's ends is one of a character
        for place, found in enumerate(places.tolist()):
            if found >= 0:
                assert "".join(own[: place + 1]) == "".join(other[: found + 1])
    assert torch.equal(rows["target"][:, :-1][rows["mask"][:, 1:]], rows["tokens"][:, 1:][rows["mask"][:, 1:]])
    assert ((rows["target"] >= 0) == rows["mask"]).all()
    assert "".join(map(chr, rows["text"][3])).startswith(
        "".join(pieces[i] for i in rows["tokens"][3][rows["mask"][3]].tolist())
    )


def test_entries_say_which_ids_are_the_same_and_how_a_text_begins() -> None:
    entries = AlignedText(**TWO).load()["entries"].rows()
    assert entries["same"].tolist() == [-1, *range(1, 71), *[-1] * 59]  # letters have their ids; 0 is what is unknown
    assert (entries["first"][1:] >= 1).all()
    assert entries["first"][0] == -1


def test_entries_are_as_written_and_each_of_the_teacher_s_has_the_most_alike() -> None:
    """Of letters as the student's entries the nearest of a pair of them is the first that stands in it, by id."""
    splits = AlignedText(**TWO).load()
    entries, own = splits["entries"], splits["own_entries"]
    letters = tokenizer("characters").pieces()
    assert ["".join(map(chr, text[text >= 0])) for text in own.column("text")][1:] == letters[1:]
    nearest = nearest_entries(entries, own, context=stage_context())
    assert nearest[0] == -1  # what is unknown is not written
    for text, found in list(zip(entries.column("text"), nearest.tolist(), strict=True))[1:]:
        written = "".join(map(chr, text[text >= 0]))
        assert found == min(letters.index(letter) for letter in written)


def test_a_tokenizer_of_transformers_says_where_its_tokens_end(tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator(["the arms of the argument"] * 3, trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner).save_pretrained(tmp_path)
    ids, ends = tokenizer(str(tmp_path)).encode_with_ends("the é of")
    assert ends[-1] == 8
    part = AlignedText(**{**TWO, "teacher_vocabulary": 280}, teacher_tokenizer=str(tmp_path), teacher_start=3)
    rows = assert_as_promised(part)["train"].rows()
    assert (rows["teacher_tokens"][:, 0] == 3).all()
    assert (rows["teacher_ends"][:, 0] == 0).all()
    assert len(set(ends)) < len(ids)  # two tokens are one character, which only the second has read


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(DataError, match="has no row of 5000"):
        AlignedText(**{**TWO, "row": 5000}).load()
    with pytest.raises(DataError, match="needs its number of tokens"):
        AlignedText(**TWO, tokenizer="byte_pairs")
