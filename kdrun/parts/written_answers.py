"""What models wrote after prompts, as text for models to learn from."""

from __future__ import annotations

from typing import Any

import torch

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import label, shape_of
from kdrun.types import Unsigned

__all__ = ["answer_lines"]

IGNORED = -100
"""The target at prompts and padding, which cross-entropy leaves out."""


@label(random=False)
def answer_lines(
    data: Dataset, *, column: str = "generated", written: str | None = "emitted", padding: Unsigned = 0
) -> Dataset:
    """Prompts with an answer each as lines to learn: ``tokens`` and ``target`` [rows, prompt + answer - 1] (int64), padded on the right.

    ``data.tokens`` [rows, prompt] is padded on the left, where ``data.mask`` is false (or, without that column, where ``padding`` stands).
    Answers are the ``column`` [rows, answer] (int64), as far as ``written`` [rows, answer] is not 0, or with null as they are not
    negative. The line's tokens come first, then ``padding``; only the answer's tokens are targets, each at the place before it, all else is
    -100. ``mask`` is then false at padding; other columns stay. Raises ``InputError`` for a missing column, or a row whose prompt is empty.

    >>> columns = {"tokens": torch.tensor([[0, 7, 8]]), "generated": torch.tensor([[5, 1, 0]]), "emitted": torch.tensor([[1, 1, 0]])}
    >>> lines = parts.answer_lines(data.MemoryDataset(columns, data.DataInfo({}))).rows()
    >>> lines["tokens"], lines["target"]
    (tensor([[7, 8, 5, 0, 0]]), tensor([[-100,    5,    1, -100, -100]]))
    """
    rows = data.rows()
    missing = [name for name in ("tokens", column, written) if name is not None and name not in rows]
    if missing:
        raise InputError(f"there is no column '{missing[0]}'; there are: {', '.join(rows)}")
    prompt, answer = rows["tokens"], rows[column]
    read = rows["mask"].bool() if "mask" in rows else prompt != padding
    if not bool(read.any(1).all()):
        raise InputError("a prompt has no token")
    counted = answer >= 0 if written is None else rows[written] != 0
    real = torch.cat([read, counted], 1)
    order = (~real).long().argsort(dim=1, stable=True)
    real = real.gather(1, order)
    line = torch.cat([prompt, answer], 1).gather(1, order).masked_fill(~real, padding)
    own = torch.cat([torch.zeros_like(read), counted], 1).gather(1, order)
    target = line.masked_fill(~own, IGNORED)
    # The last token of a line that is full is only a target: nothing is asked behind it.
    last = (real.cumsum(1) == real.sum(1, keepdim=True)) & real
    tokens = line.masked_fill(last, padding)
    changed = {"tokens": tokens[:, :-1], "target": target[:, 1:], "mask": (real & ~last)[:, :-1]}
    return data.with_columns(changed)


@shape_of("label", "answer_lines")
def answer_lines_shape(data: Dataset, *, column: str = "generated", **options: Any) -> Dataset:
    """A token less than prompt and answer together: nothing is asked behind the last."""
    columns = data.info.columns
    missing = [name for name in ("tokens", column) if name not in columns]
    if missing:
        raise InputError(f"there is no column '{missing[0]}'; there are: {', '.join(columns)}")
    length = columns["tokens"].shape[0] + columns[column].shape[0] - 1
    ids = torch.zeros(len(data), length, dtype=torch.int64)
    return data.with_columns({"tokens": ids, "target": ids, "mask": ids.bool()})
