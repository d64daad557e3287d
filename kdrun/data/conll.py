"""CoNLL files of two domains as text with named entities, in the columns of ``data.tagging``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.tagging import PADDING
from kdrun.data.text_reading import json_lines, read_lines, word
from kdrun.data.tokenizers import pretrained_tokenizer
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead, PretrainedName

__all__ = ["ConllDomains", "read_conll"]


@data(name="conll_domains", fields=("source", "target", "valid", "test", "events"), fingerprint=True)
class ConllDomains:
    """A source and a target domain as CoNLL files, with events of the source's entities.

    ``root/source.conll``, ``target.conll``, ``valid.conll`` and ``test.conll`` (the last three of the target): a word a
    line, the word in the first and its BIO tag (``O``, ``B-TYPE``, ``I-TYPE``) in the last column, a blank line after
    each paragraph. ``root/events.jsonl``: an event a line, ``{"entity": "p53", "text": "phosphorylation of (self) by
    ATM"}``. Words become pieces of the ``tokenizer`` of transformers (a folder or hub name), cut at ``length``.

    Columns: ids ``tokens`` [length] (int64), 0 behind the end; ``first`` [length] (bool), where a word begins; ``tags``
    [length] (int64) by word, numbered as ``source_types`` and ``target_types`` name the types, -100 behind the last;
    ``entity`` [length], which numbers the mention that begins at a word by its text among the entities with events,
    else -1; there are at most ``owners``. ``events`` has ``tokens`` [event_length] and ``entity``. Nothing is read to
    plan. Raises ``DataError`` for a missing file or a bad line.

    >>> known = data.conll_domains(root="papers", source_types=["GENE"], target_types=["DRUG", "DOSE"]).info()
    >>> known["source"].classes, known["target"].classes, known["events"].columns["tokens"].shape
    (3, 5, (128,))
    """

    FILES = ("source", "target", "valid", "test")

    def __init__(
        self,
        *,
        root: PathToRead,
        source_types: list[str],
        target_types: list[str],
        tokenizer: PretrainedName = "bert-base-uncased",
        length: Count = 512,
        event_length: Count = 128,
        owners: Count = 8192,
    ) -> None:
        self.root = Path(root).expanduser()
        self.types = {"source": source_types, **dict.fromkeys(("target", "valid", "test"), target_types)}
        self.tokenizer, self.length, self.event_length, self.owners = tokenizer, length, event_length, owners

    def info(self) -> dict[str, DataInfo]:
        row, extra = Column((self.length,), torch.int64), {"owners": self.owners}
        columns = {"tokens": row, "first": Column((self.length,), torch.bool), "tags": row, "entity": row}
        infos = {s: DataInfo(columns, 2 * len(self.types[s]) + 1, extra=extra) for s in self.FILES}
        events = {"tokens": Column((self.event_length,), torch.int64), "entity": Column((), torch.int64)}
        return {**infos, "events": DataInfo(events, extra=extra)}

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times of change."""
        return fingerprint_of(self._paths().values(), self.root)

    def _paths(self) -> dict[str, Path]:
        return {**{s: self.root / f"{s}.conll" for s in self.FILES}, "events": self.root / "events.jsonl"}

    def load(self) -> dict[str, MemoryDataset]:
        for what, path in self._paths().items():
            if not path.is_file():
                form = (
                    "one JSON object a line with 'entity' and 'text'"
                    if what == "events"
                    else "a word and its BIO tag a line"
                )
                raise DataError(f"there is no {path}: expected {form}, blank lines between paragraphs", key="data.root")
        encoder = pretrained_tokenizer(self.tokenizer, extra="nlp")
        events = self._read_events()
        numbers = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in events))}
        if len(numbers) > self.owners:
            raise DataError(f"{len(numbers)} entities have events, more than {self.owners}", key="data.owners")
        infos = self.info()
        sets = {split: self._split(split, encoder, numbers, infos[split]) for split in self.FILES}
        tokens = torch.zeros(len(events), self.event_length, dtype=torch.int64)
        for row, (_, text) in zip(tokens, events, strict=True):
            _fill(row, encoder(text, truncation=True, max_length=self.event_length)["input_ids"])
        owner = torch.tensor([numbers[name] for name, _ in events], dtype=torch.int64)
        sets["events"] = MemoryDataset({"tokens": tokens, "entity": owner}, infos["events"])
        return sets

    def _read_events(self) -> list[tuple[str, str]]:
        path = self._paths()["events"]
        found = []
        for number, content in json_lines(path, "a JSON object with 'entity' and 'text'"):
            try:
                found.append((word(content["entity"]).lower(), word(content["text"])))
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    f"{path}, line {number}: no JSON object with 'entity' and 'text'", key="data.root"
                ) from None
        if not found:
            raise DataError(f"{path} holds no event", key="data.root")
        return found

    def _split(self, split: str, encoder: Any, numbers: Mapping[str, int], info: DataInfo) -> MemoryDataset:
        known = {name: i for i, name in enumerate(self.types[split], 1)}
        paragraphs = read_conll(self._paths()[split])
        behind = {"tokens": 0, "first": False, "tags": PADDING, "entity": -1}
        columns = {n: torch.full((len(paragraphs), self.length), fill) for n, fill in behind.items()}
        for number, (words, names) in enumerate(paragraphs):
            coded = encoder(words, is_split_into_words=True, truncation=True, max_length=self.length)
            belongs = coded.word_ids()
            first = [w is not None and (i == 0 or belongs[i - 1] != w) for i, w in enumerate(belongs)]
            tags = [self._tag(name, known, split) for name in names[: sum(first)]]
            row = {
                "tokens": coded["input_ids"],
                "first": first,
                "tags": tags,
                "entity": _mentions(words, tags, numbers),
            }
            for name, values in row.items():
                _fill(columns[name][number], values)
        return MemoryDataset(columns, info)

    def _tag(self, name: str, known: Mapping[str, int], split: str) -> int:
        mark, _, kind = name.partition("-")
        if name == "O":
            return 0
        if mark not in ("B", "I") or kind not in known:
            raise DataError(
                f"{self._paths()[split]} has the tag '{name}', which is neither O nor B- or I- with one of: {', '.join(known)}",
                key=f"data.{'source' if split == 'source' else 'target'}_types",
            )
        return 2 * known[kind] - int(mark == "B")


def _fill(row: Tensor, values: Sequence[int]) -> None:
    row[: len(values)] = torch.tensor(values[: len(row)], dtype=row.dtype)


def _mentions(words: Sequence[str], tags: Sequence[int], numbers: Mapping[str, int]) -> list[int]:
    """At the first word of a mention, the number of its text, and -1 elsewhere."""
    result = [-1] * len(tags)
    for i, tag in enumerate(tags):
        if tag % 2 == 1:
            end = i + 1
            while end < len(tags) and tags[end] == tag + 1:
                end += 1
            result[i] = numbers.get(" ".join(words[i:end]).lower(), -1)
    return result


def read_conll(path: Path) -> list[tuple[list[str], list[str]]]:
    """Paragraphs of a CoNLL file: words (first column) and tags (last column). Raises ``DataError`` naming a bad line."""
    paragraphs: list[tuple[list[str], list[str]]] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_lines(path), ""], 1):
        pieces = line.split()
        if not pieces:
            if words:
                paragraphs.append((words, tags))
            words, tags = [], []
        elif len(pieces) == 1:
            raise DataError(f"{path}, line {number}: expected a word and its tag, got '{line}'", key="data.root")
        else:
            words.append(pieces[0])
            tags.append(pieces[-1])
    if not paragraphs:
        raise DataError(f"{path} holds no paragraph", key="data.root")
    return paragraphs
