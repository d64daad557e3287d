"""Small corpora of text, and what their rows say."""

from __future__ import annotations

from typing import Any

from kdrun.data.dataset import MemoryDataset
from kdrun.data.tokenizers import tokenizer
from support.data import assert_as_promised

__all__ = ["SMALL", "TINY", "assert_text_as_promised", "text_of"]

SMALL = {"train_characters": 4000, "valid_characters": 800, "test_characters": 800}
# With canaries.
TINY = {**SMALL, "canaries": 3, "repeats": 5, "secret_length": 2}


def text_of(data: MemoryDataset) -> str:
    """The text of rows in blocks that follow each other."""
    pieces = tokenizer("characters").pieces()
    rows = data.rows()
    last = [int(rows["target"][-1, -1])]
    return "".join(pieces[i] for i in rows["tokens"].flatten().tolist() + last)


def assert_text_as_promised(part: Any) -> dict[str, MemoryDataset]:
    """Load a corpus; its splits are as promised and their targets within the vocabulary."""
    splits: dict[str, MemoryDataset] = assert_as_promised(part)
    for name, info in part.info().items():
        target = splits[name].rows()["target"]
        assert 0 <= int(target.min()) <= int(target.max()) < info.extra["vocabulary"] == info.classes
    return splits
