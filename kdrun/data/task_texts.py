"""Classification of texts and pairs of texts from files: many tasks, read with one tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.text_reading import json_lines, word
from kdrun.data.tokenizers import pretrained_tokenizer
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead, PretrainedName, Unsigned

__all__ = ["TextTasks"]

SPLITS = ("train", "valid", "test")
FORM = '{"text": "...", "pair": "...", "label": 0}'


@data(name="text_tasks", items={"sources": "sources", "targets": "targets"}, fingerprint=True)
class TextTasks:
    """Tasks of classification: ``root/TASK/SPLIT.jsonl`` with ``{"text": ..., "label": 0}`` a line, and perhaps a ``pair``, a second text.

    ``sources`` and ``targets`` name tasks; ``classes`` says how many labels each has, numbered from 0, and ``rows`` how many rows to
    train on, where that should be known without reading. Splits are ``train``, ``valid`` and ``test``. Texts are read by a ``tokenizer`` of
    transformers, with its special tokens around and between them, cut (the longer one first) or padded with the id ``padding`` to
    ``length``. Columns: ``tokens`` [length] (int64), ``mask`` [length] (bool, false at padding) and ``label`` (int64). Raises
    ``DataError`` for a task without a number of classes, a missing file, or a line of another form.

    >>> known = data.text_tasks(sources=["mnli"], targets=["rte"], classes={"mnli": 3, "rte": 2}, rows={"rte": 2490}).info()
    >>> known["targets"][0]["train"].size, known["sources"][0]["test"].columns["tokens"].shape
    (2490, (128,))
    """

    def __init__(
        self,
        *,
        sources: list[str],
        targets: list[str],
        classes: dict[str, Count],
        rows: dict[str, Count] | None = None,
        root: PathToRead = "~/.cache/kdrun/data/text_tasks",
        tokenizer: PretrainedName = "roberta-base",
        vocabulary: Count = 50265,
        padding: Unsigned = 1,
        length: Count = 128,
    ) -> None:
        unknown = [name for name in (*sources, *targets) if name not in classes]
        if unknown:
            raise DataError(f"how many classes has the task '{unknown[0]}'?", key="data.classes")
        self.tasks = {"sources": sources, "targets": targets}
        self.classes, self.rows, self.root = classes, rows or {}, Path(root).expanduser()
        self.tokenizer, self.vocabulary, self.padding, self.length = tokenizer, vocabulary, padding, length

    def info(self) -> dict[str, list[dict[str, DataInfo]]]:
        return {
            name: [{split: self._info(task, split) for split in SPLITS} for task in tasks]
            for name, tasks in self.tasks.items()
        }

    def _info(self, task: str, split: str) -> DataInfo:
        columns = {"tokens": Column((self.length,), torch.int64), "mask": Column((self.length,), torch.bool)}
        columns["label"] = Column((), torch.int64)
        extra = {"vocabulary": self.vocabulary, "tokenizer": self.tokenizer}
        return DataInfo(columns, self.classes[task], self.rows.get(task) if split == "train" else None, extra=extra)

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times of change."""
        names = dict.fromkeys(name for tasks in self.tasks.values() for name in tasks)
        return fingerprint_of([self._path(task, split) for task in names for split in SPLITS], self.root)

    def load(self) -> dict[str, list[dict[str, MemoryDataset]]]:
        inner = pretrained_tokenizer(self.tokenizer, extra="llm")
        return {
            name: [{split: self._split(inner, task, split) for split in SPLITS} for task in tasks]
            for name, tasks in self.tasks.items()
        }

    def _path(self, task: str, split: str) -> Path:
        return self.root / task / f"{split}.jsonl"

    def _split(self, inner: Any, task: str, split: str) -> MemoryDataset:
        path, labels = self._path(task, split), []
        texts: list[str] = []
        pairs: list[str] = []
        for number, entry in json_lines(path, FORM):
            try:
                texts.append(word(entry["text"]))
                pairs += [word(entry["pair"])] if "pair" in entry else []
                labels.append(self._label(entry["label"], task))
            except KeyError as error:
                raise DataError(f"{path}, line {number} lacks the key {error}") from None
            except (TypeError, ValueError) as error:
                raise DataError(f"{path}, line {number}: {error}") from None
        if not labels:
            raise DataError(f"{path} is empty: expected {FORM}", key="data.root")
        if pairs and len(pairs) < len(texts):
            raise DataError(f"{path}: some lines have a pair, and some have not")
        tokens = self._tokens(inner, texts, pairs or None)
        columns = {"tokens": tokens, "mask": tokens != self.padding, "label": torch.tensor(labels, dtype=torch.int64)}
        return MemoryDataset(columns, self._info(task, split))

    def _label(self, value: Any, task: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < self.classes[task]:
            raise ValueError(f"a label of '{task}' is a number from 0 to {self.classes[task] - 1}, got {value!r:.40}")
        return value

    def _tokens(self, inner: Any, texts: list[str], pairs: list[str] | None) -> Tensor:
        found = inner(texts, pairs, truncation="longest_first", max_length=self.length)["input_ids"]
        rows = [row + [self.padding] * (self.length - len(row)) for row in found]
        return torch.tensor(rows, dtype=torch.int64)
