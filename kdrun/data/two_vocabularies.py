"""One text in the tokens of two vocabularies, with the places in the text where they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kdrun.data.byte_pairs import BytePairs
from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.text import SPLITS, TextCorpus
from kdrun.data.tokenizers import Tokenizer, tokenizer
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PretrainedName, Unsigned

__all__ = ["AlignedText"]

IGNORED = -100
"""The target at padding, which cross-entropy leaves out."""

OWN = "byte_pairs"

WRITTEN = 32
"""Characters that are kept of how an entry is written."""


@data(
    name="aligned_text",
    fields=("train", "valid", "test", "teacher_train", "teacher_test", "entries", "own_entries"),
    fingerprint=True,
)
class AlignedText(TextCorpus):
    """Pieces of text in the tokens of a student and of a teacher, which differ (``source``, ``root`` and sizes as of ``text_corpus``).

    Each row of ``train``, ``valid`` and ``test`` is a piece of ``row`` characters: ``tokens`` and the ``target`` that follows each
    [block] (int64), ``mask`` [block] (bool, false at padding), and ``ends`` [block + 1] (int64): how many characters are read with
    each token, the last target included, -1 at padding and where a character goes on in the next token. ``teacher_tokens``,
    ``teacher_target``, ``teacher_mask`` and ``teacher_ends`` say the same of the teacher's [teacher_block]. Targets of padding are
    -100; what does not fit into a block is cut off; ``text`` [row] (int64) has the codes of the characters. ``teacher_train`` and ``teacher_test`` have the teacher's columns alone, under
    the plain names. ``entries`` has a row for each id of the teacher: ``same`` is the student's id of the same text, ``first`` that
    of the token with which the student begins to read its text; -1 where there is none. ``text`` [32] (int64) is how it is written,
    in codes of characters, -1 behind the last and for what stands for no text; ``own_entries`` has the same of the student's ids.

    ``tokenizer`` and ``teacher_tokenizer`` are ``characters``, ``byte_pairs`` (made from the split ``train``), or one of transformers
    (a folder or hub name), with ``vocabulary`` and ``teacher_vocabulary`` ids; ``start`` and ``teacher_start`` are ids that begin
    each row, if any. Raises ``DataError`` as ``text_corpus`` does, and for a tokenizer without places in the text.

    >>> short = {"train_characters": 2000, "valid_characters": 200, "test_characters": 200}
    >>> splits = data.aligned_text(row=32, block=32, teacher_block=32, teacher_vocabulary=120, **short).load()
    >>> row = splits["test"].rows()
    >>> row["ends"][0, :4], len(splits["entries"])  # a character a token
    (tensor([1, 2, 3, 4]), 120)
    """

    def __init__(
        self,
        *,
        row: Count = 64,
        teacher_tokenizer: PretrainedName = "byte_pairs",
        teacher_vocabulary: Count,
        teacher_block: Count = 64,
        start: Unsigned | None = None,
        teacher_start: Unsigned | None = None,
        **text: Any,
    ) -> None:
        super().__init__(**text)
        if self.vocabulary is None and self.tokenizer != "characters":
            raise DataError(f"the tokenizer '{self.tokenizer}' needs its number of tokens", key="data.vocabulary")
        self.row, self.starts = row, (start, teacher_start)
        self.teacher_tokenizer, self.teacher_vocabulary, self.teacher_block = (
            teacher_tokenizer,
            teacher_vocabulary,
            teacher_block,
        )

    def info(self) -> dict[str, DataInfo]:
        own, teacher = self._side(self.block), self._side(self.teacher_block)
        words = {"tokenizer": self.tokenizer, "lower": self.lower, "vocabulary": self._vocabulary()}
        others = {"teacher_tokenizer": self.teacher_tokenizer, "teacher_vocabulary": self.teacher_vocabulary}
        columns = {**own, **{f"teacher_{name}": column for name, column in teacher.items()}}
        columns["text"] = Column((self.row,), torch.int64)
        both = DataInfo(columns, self._vocabulary(), extra={**words, **others})
        alone = {**words, "tokenizer": self.teacher_tokenizer, "vocabulary": self.teacher_vocabulary}
        read = DataInfo(teacher, self.teacher_vocabulary, extra=alone)
        ids = {name: Column((), torch.int64) for name in ("same", "first")}
        text, size = {"text": Column((WRITTEN,), torch.int64)}, self._vocabulary()
        entries = DataInfo({**ids, **text}, size=self.teacher_vocabulary, extra={"vocabulary": size})
        all_of_it = {**dict.fromkeys(SPLITS, both), "teacher_train": read, "teacher_test": read, "entries": entries}
        return {**all_of_it, "own_entries": DataInfo(text, size=size, extra={"vocabulary": size})}

    def load(self) -> dict[str, MemoryDataset]:
        texts, known = self._texts(), self.info()
        student = _made(self.tokenizer, self._vocabulary(), texts["train"], self.lower, "data.vocabulary")
        teacher = _made(
            self.teacher_tokenizer, self.teacher_vocabulary, texts["train"], self.lower, "data.teacher_vocabulary"
        )
        found = {split: self._rows(texts[split], student, teacher, known[split]) for split in SPLITS}
        names = self._side(self.teacher_block)
        for split in ("train", "test"):
            columns = {name: found[split].column(f"teacher_{name}") for name in names}
            found[f"teacher_{split}"] = MemoryDataset(columns, known[f"teacher_{split}"])
        found["entries"] = MemoryDataset(_entries(student, teacher, self.teacher_vocabulary), known["entries"])
        found["own_entries"] = MemoryDataset(
            {"text": _codes(student.pieces(), self._vocabulary())}, known["own_entries"]
        )
        return found

    def _vocabulary(self) -> int:
        return self.vocabulary or len(tokenizer("characters", lower=self.lower).pieces())

    def _side(self, block: int) -> dict[str, Column]:
        ids = {name: Column((block,), torch.int64) for name in ("tokens", "target")}
        return {**ids, "mask": Column((block,), torch.bool), "ends": Column((block + 1,), torch.int64)}

    def _rows(self, text: str, student: Tokenizer, teacher: Tokenizer, info: DataInfo) -> MemoryDataset:
        pieces = [text[i : i + self.row] for i in range(0, len(text) - self.row + 1, self.row)]
        if not pieces:
            raise DataError(f"a text of {len(text)} characters has no row of {self.row}", key="data.row")
        sides = (("", student, self.block, self.starts[0]), ("teacher_", teacher, self.teacher_block, self.starts[1]))
        columns: dict[str, Tensor] = {}
        for before, cut, block, start in sides:
            rows = [_row(*cut.encode_with_ends(piece), block, start) for piece in pieces]
            columns.update({f"{before}{name}": torch.stack([row[name] for row in rows]) for name in rows[0]})
        columns["text"] = torch.tensor([[ord(character) for character in piece] for piece in pieces])
        return MemoryDataset(columns, info)


def _made(name: str, vocabulary: int, text: str, lower: bool, key: str) -> Tokenizer:
    """The tokenizer of that name, made from ``text`` if it is one that is made."""
    made = BytePairs.trained(text, vocabulary, lower=lower) if name == OWN else tokenizer(name, lower=lower)
    if len(made.pieces()) > vocabulary:
        raise DataError(f"the tokenizer has {len(made.pieces())} tokens, more than {vocabulary}", key=key)
    return made


def _row(ids: Sequence[int], ends: Sequence[int], block: int, start: int | None) -> dict[str, Tensor]:
    """Tokens, each with its target, the last token being a target alone."""
    if start is not None:
        ids, ends = [start, *ids], [0, *ends]
    # Of tokens that end at one place the last has read all of its character.
    whole = [-1 if i + 1 < len(ends) and ends[i + 1] == end else end for i, end in enumerate(ends)]
    ids, whole = ids[: block + 1], whole[: block + 1]
    count = max(len(ids) - 1, 0)
    tokens, target = torch.zeros(block, dtype=torch.int64), torch.full((block,), IGNORED)
    tokens[:count], target[:count] = torch.tensor(ids[:-1]).long(), torch.tensor(ids[1:]).long()
    places = torch.full((block + 1,), -1)
    places[: len(whole)] = torch.tensor(whole)
    return {"tokens": tokens, "target": target, "mask": torch.arange(block) < count, "ends": places}


def _entries(student: Tokenizer, teacher: Tokenizer, vocabulary: int) -> dict[str, Tensor]:
    """For each id of the teacher the student's id of the same text, and that of the token with which its text begins."""
    own: dict[str, int] = {}
    for i, text in enumerate(student.pieces()):
        own.setdefault(text, i)
    same, first = torch.full((vocabulary,), -1), torch.full((vocabulary,), -1)
    for i, text in enumerate(teacher.pieces()):
        if not _readable(text):
            continue
        same[i] = own.get(text, -1)
        begun = student.encode(text)[:1]
        if begun:
            first[i] = begun[0]
    return {"same": same, "first": first, "text": _codes(teacher.pieces(), vocabulary)}


def _codes(pieces: Sequence[str], count: int) -> Tensor:
    """How entries are written, in codes of characters [count, 32]; -1 behind the last, and for what stands for no text."""
    found = torch.full((count, WRITTEN), -1)
    for i, text in enumerate(pieces):
        if _readable(text):
            found[i, : len(text)] = torch.tensor([ord(character) for character in text[:WRITTEN]])
    return found


def _readable(text: str) -> bool:
    """Whether an id stands for text: not for parts of a character, nor for what is unknown."""
    return bool(text) and "\0" not in text and "\ufffd" not in text
