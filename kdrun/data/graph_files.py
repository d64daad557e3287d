"""What files say of a graph's entities beside its triples: the class of each, and questions that they answer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from kdrun.data.text_reading import json_lines, read_lines, word
from kdrun.errors import DataError

__all__ = ["class_numbers", "query_answers"]

QUERY = '{"text": "...", "relevant": ["ENTITY", ...]}'


def class_numbers(path: Path | None, numbers: dict[str, int]) -> Tensor:
    """Of lines ``entity<TAB>class`` the class of each entity, in the order of classes' names: [entities] (int64), -1 without one."""
    labels = torch.full((len(numbers),), -1)
    if path is None:
        return labels
    if not path.is_file():
        raise DataError(f"there is no {path}: expected lines entity<TAB>class", key="data.classes")
    pairs = (line.partition("\t") for line in read_lines(path, key="data.classes"))
    told = {name: kind.strip() for name, _, kind in pairs if name in numbers and kind.strip()}
    order = {kind: number for number, kind in enumerate(sorted(set(told.values())))}
    for name, kind in told.items():
        labels[numbers[name]] = order[kind]
    return labels


def query_answers(path: Path, numbers: dict[str, int]) -> tuple[list[str], Tensor]:
    """Questions of a file of JSON lines, and 1 for the entities that answer each: [queries, entities] (float32)."""
    if not path.is_file():
        raise DataError(f"there is no {path}: expected lines {QUERY}", key="data.queries")
    texts, rows = [], []
    for line, entry in json_lines(path, QUERY, key="data.queries"):
        try:
            texts.append(word(entry["text"]))
            answers = [numbers[name] for name in entry["relevant"] if name in numbers]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}, line {line}: expected {QUERY}", key="data.queries") from None
        rows.append(torch.zeros(len(numbers)).index_fill(0, torch.tensor(answers, dtype=torch.int64), 1.0))
    return texts, torch.stack(rows) if rows else torch.zeros(0, len(numbers))
