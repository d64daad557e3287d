"""Running text as blocks of tokens, from the standard library or a folder."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.docstrings import docstrings
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.text_reading import read_text
from kdrun.data.tokenizers import Tokenizer, tokenizer
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead, PretrainedName

__all__ = ["SPLITS", "Segment", "TextCorpus"]


SPLITS = ("train", "valid", "test")

Segment = tuple[str, bool]
"""A piece of text, and whether it is a secret."""


def _text_files(root: Path, split: str) -> list[Path]:
    return [root / f"{split}.txt"] if (root / f"{split}.txt").is_file() else sorted((root / split).rglob("*.txt"))


def _blocks(tokens: Iterable[int], secret: Iterable[int], block: int) -> dict[str, Tensor]:
    """A stream cut into rows of ``block`` tokens, each with the token that follows it; the rest is dropped."""
    stream = torch.tensor(list(tokens), dtype=torch.int64)
    marks = torch.tensor(list(secret), dtype=torch.int64)
    rows = max((len(stream) - 1) // block, 0)
    ahead = slice(1, rows * block + 1)
    return {
        "tokens": stream[: rows * block].view(rows, block),
        "target": stream[ahead].reshape(rows, block),
        "secret": marks[ahead].reshape(rows, block),
    }


@data(name="text_corpus", fields=("train", "valid", "test"), fingerprint=True)
class TextCorpus:
    """Text in rows of ``block`` tokens: ``tokens``, the ``target`` that follows each, and ``secret`` (0 here); all int64.

    ``source`` is ``docstrings`` of the standard library (of other modules for each split), or ``folder``: ``root`` with
    ``train.txt``, ``valid.txt`` and ``test.txt``, or folders of these names with ``*.txt`` below. ``tokenizer`` is
    ``characters`` or a tokenizer of transformers (a folder or hub name), whose number of tokens is ``vocabulary``. The
    splits have ``train_characters``, ``valid_characters`` and ``test_characters`` at most; None is all there are, in a
    folder. ``lower`` makes letters small. Raises ``DataError`` for missing files or a text that fills no block.

    >>> splits = data.text_corpus(block=16, train_characters=2000, valid_characters=200, test_characters=200).load()
    >>> rows = splits["train"].rows()
    >>> rows["tokens"].shape, torch.equal(rows["tokens"][0, 1:], rows["target"][0, :-1])
    (torch.Size([124, 16]), True)
    """

    def __init__(
        self,
        *,
        source: Literal["docstrings", "folder"] = "docstrings",
        root: PathToRead | None = None,
        tokenizer: PretrainedName = "characters",
        vocabulary: Count | None = None,
        block: Count = 64,
        train_characters: Count | None = 300_000,
        valid_characters: Count | None = 30_000,
        test_characters: Count | None = 30_000,
        lower: bool = True,
    ) -> None:
        self.source, self.tokenizer, self.block, self.lower = source, tokenizer, block, lower
        self.root = Path(root).expanduser() if root else None
        self.vocabulary = vocabulary
        self.characters = dict(zip(SPLITS, (train_characters, valid_characters, test_characters), strict=True))
        if source == "folder" and root is None:
            raise DataError("text from a folder needs data.root=FOLDER", key="data.root")
        if tokenizer != "characters" and vocabulary is None:
            raise DataError(f"the tokenizer '{tokenizer}' needs its number of tokens", key="data.vocabulary")

    def info(self) -> dict[str, DataInfo]:
        return dict.fromkeys(SPLITS, self._info(self.block))

    def _info(self, length: int, **more: Column) -> DataInfo:
        columns = {name: Column((length,), torch.int64) for name in ("tokens", "target", "secret")}
        vocabulary = self.vocabulary or len(tokenizer("characters", lower=self.lower).pieces())
        extra = {"vocabulary": vocabulary, "tokenizer": self.tokenizer, "lower": self.lower}
        return DataInfo({**columns, **more}, classes=vocabulary, extra=extra)

    def fingerprint(self) -> str:
        """The Python version that brings the docstrings, or a hash of the files' names, sizes and times of change."""
        if self.source == "docstrings":
            return platform.python_version()
        return fingerprint_of((p for split in SPLITS for p in _text_files(self._folder(), split)), self._folder())

    def load(self) -> dict[str, MemoryDataset]:
        return {split: self._packed([(text, False)]) for split, text in self._texts().items()}

    def _folder(self) -> Path:
        assert self.root is not None
        return self.root

    def _texts(self) -> dict[str, str]:
        if self.source == "docstrings":
            counts = [self.characters[s] or 0 for s in ("test", "valid", "train")]
            test, valid, train = docstrings(*counts)
            texts = {"train": train, "valid": valid, "test": test}
        else:
            texts = {split: self._read(split) for split in SPLITS}
        return {split: text.lower() if self.lower else text for split, text in texts.items()}

    def _read(self, split: str) -> str:
        files = _text_files(self._folder(), split)
        if not files:
            raise DataError(
                f"there is no text for the split '{split}': expected {self.root}/{split}.txt or {self.root}/{split}/*.txt",
                key="data.root",
            )
        return "\n\n".join(read_text(path) for path in files)[: self.characters[split]]

    def _encoder(self) -> Tokenizer:
        found = tokenizer(self.tokenizer, lower=self.lower)
        if self.vocabulary is not None and len(found.pieces()) > self.vocabulary:
            raise DataError(
                f"the tokenizer has {len(found.pieces())} tokens, more than {self.vocabulary}", key="data.vocabulary"
            )
        return found

    def _packed(self, segments: Iterable[Segment]) -> MemoryDataset:
        encoder = self._encoder()
        tokens: list[int] = []
        secret: list[int] = []
        for text, private in segments:
            ids = encoder.encode(text)
            tokens += ids
            secret += [int(private)] * len(ids)
        if len(tokens) <= self.block:
            raise DataError(f"a text of {len(tokens)} tokens fills no block of {self.block}", key="data.block")
        return MemoryDataset(_blocks(tokens, secret, self.block), self._info(self.block))
