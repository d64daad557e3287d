"""Parts of the ``label`` stage that say which tokens of a text are private."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.data.tokenizers import tokenizer
from kdrun.errors import InputError
from kdrun.registry import label, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["privacy_spans"]

PATTERNS = (r"[0-9](?:[ -]?[0-9])+", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
"""Runs of digits, perhaps parted by blanks or hyphens; addresses of e-mail."""


@label(random=False)
def privacy_spans(
    data: Dataset,
    model: Module | None = None,
    *,
    detector: Literal["oracle", "pattern", "learned"] = "pattern",
    patterns: list[str] | None = None,
    column: str = "rho",
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Add how likely each target token is private: ``column`` [rows, length] (float32), from 0 to 1.

    ``oracle`` reads the column ``secret``; ``pattern`` marks targets inside a match of one of the regular expressions
    ``patterns`` in a row's text (by default runs of digits, and addresses of e-mail); ``learned`` takes the probability that ``model``, a tagger of two classes over token
    ids, gives to class 1. Raises ``InputError`` for a text without a tokenizer, a bad pattern, or no tagger.
    """
    if detector == "learned":
        if model is None:
            raise InputError("a learned detector is a model: from: {data: …, model: …}", key=context.config_key)
        found = outputs_over(model, data, {}, input="target", batch_size=batch_size, context=context)
        return data.with_columns({column: found["logits"].softmax(-1)[..., 1]})
    rows = data.rows()
    if detector == "oracle":
        return data.with_columns({column: rows["secret"].float()})
    return data.with_columns({column: _matched(data, rows["tokens"], rows["target"], patterns or PATTERNS, context)})


@shape_of("label", "privacy_spans")
def privacy_spans_shape(
    data: Dataset,
    model: Module | None = None,
    *,
    detector: Literal["oracle", "pattern", "learned"] = "pattern",
    column: str = "rho",
    context: Context,
    **options: Any,
) -> Dataset:
    """A number a target: patterns are sought in text, which nobody has read yet."""
    if detector == "pattern":
        return data.with_columns({column: torch.zeros(data.column("target").shape)})
    return privacy_spans(data, model, detector=detector, column=column, context=context, **options)


def _matched(data: Dataset, tokens: Tensor, target: Tensor, patterns: Sequence[str], context: Context) -> Tensor:
    """1 at targets [rows, length] of which a character lies in a match."""
    if "tokenizer" not in data.info.extra:
        raise InputError("patterns are sought in text: this data names no tokenizer", key=context.config_key)
    try:
        rules = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise InputError(f"a pattern is no regular expression: {error}", key=f"{context.config_key}.patterns") from None
    pieces = tokenizer(data.info.extra["tokenizer"], lower=data.info.extra.get("lower", True)).pieces()
    whole = torch.cat([tokens[:, :1], target], dim=1)
    return torch.stack([_row(ids, pieces, rules) for ids in whole.tolist()])[:, 1:]


def _row(ids: list[int], pieces: list[str], rules: list[re.Pattern[str]]) -> Tensor:
    texts = [pieces[i] for i in ids]
    ends = torch.tensor([len(text) for text in texts]).cumsum(0)
    starts = ends - torch.tensor([len(text) for text in texts])
    marked = torch.zeros(len(ids))
    joined = "".join(texts)
    for rule in rules:
        for match in rule.finditer(joined):
            marked[(starts < match.end()) & (ends > match.start())] = 1.0
    return marked
