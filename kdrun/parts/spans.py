"""Spans of tokens: tagged mentions chosen, predicted, moved and written, and what is private."""

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
from kdrun.ops.spans import first_pieces, mention_starts
from kdrun.registry import label, select, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Fraction

__all__ = ["few_shot_by_tag", "foreign_as_class", "privacy_spans", "pseudo_tags", "scattered_mentions"]


@select
def few_shot_by_tag(data: Dataset, *, share: Fraction, column: str = "tags", generator: torch.Generator) -> Dataset:
    """For each tag but 0 in turn, the first rows of a random order that have it, ``share / tags`` of all rows; their union.

    ``column`` holds tags [rows, words] (int64). At least one row a tag; a tag in too few rows gives what it has. Raises
    ``InputError`` if there is no tag but 0.

    >>> tags = torch.tensor([[0, 0], [1, 2], [0, 1], [3, 0]])
    >>> pool = data.MemoryDataset({"tags": tags}, data.DataInfo({}))
    >>> parts.few_shot_by_tag(pool, share=0.5, generator=torch.Generator().manual_seed(0)).column("tags")
    tensor([[1, 2],
            [3, 0]])
    """
    tags = data.rows()[column]
    order = torch.randperm(len(tags), generator=generator)
    present = tags[tags > 0].unique()
    each = max(round(share * len(tags) / max(len(present), 1)), 1)
    chosen = [order[(tags[order] == tag).any(1)][:each] for tag in present]
    if not chosen:
        raise InputError(f"few_shot_by_tag finds no tag but 0 in the column '{column}'")
    return data.select(torch.cat(chosen).unique())


@label(random=False)
def pseudo_tags(
    model: Module,
    data: Dataset,
    *,
    column: str = "pseudo",
    gold: str = "tags",
    exclude_gold: bool = True,
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Add a tagger's most likely tags by word: ``column`` [rows, words] (int64), -100 at padding.

    With ``exclude_gold`` they stand only where ``gold`` [rows, words] is 0, so that they never cover a gold mention. The
    model reads ``tokens`` and gives logits [rows, pieces, tags]; the column ``first`` [rows, words] tells the first piece of each
    word, where there is one.
    """
    found = outputs_over(model, data, {}, input="tokens", batch_size=batch_size, context=context)
    tags = found["logits"].argmax(-1)
    if "first" in found:
        tags = first_pieces(tags, found["first"])
    own = found[gold]
    if exclude_gold:
        tags = torch.where(own == 0, tags, 0)
    return data.with_columns({column: torch.where(own >= 0, tags, -100)})


@label
def scattered_mentions(
    data: Dataset, *, column: str = "pseudo", gold: str = "tags", generator: torch.Generator
) -> Dataset:
    """Move each row's mentions of ``column`` to random words where ``gold`` is 0: same number, lengths and types.

    Both are tags [rows, words] (int64), odd where a mention starts, -100 at padding. Mentions do not overlap. A row where they
    find no room in 20 attempts keeps its own. A control for pseudo labels.

    >>> columns = {"pseudo": torch.tensor([[1, 2, 0, 0, 0]]), "tags": torch.tensor([[0, 0, 3, 0, 0]])}
    >>> pool = data.MemoryDataset(columns, data.DataInfo({}))
    >>> parts.scattered_mentions(pool, generator=torch.Generator().manual_seed(1)).column("pseudo")
    tensor([[0, 0, 0, 1, 2]])
    """
    rows = data.rows()
    tags, own = rows[column], rows[gold]
    start, inside = mention_starts(tags)
    moved = torch.where(own >= 0, 0, -100)
    for i in range(len(tags)):
        begins = (inside[i] & (start[i] == torch.arange(tags.shape[1]))).nonzero().flatten()
        spans = [tags[i][inside[i] & (start[i] == b)] for b in begins]
        placed = _placed(spans, own[i] == 0, generator)
        if placed is None:
            placed = torch.where(inside[i], tags[i], 0)
        moved[i] = torch.where(own[i] >= 0, placed, -100)
    return data.with_columns({column: moved})


@shape_of("label", "scattered_mentions")
def scattered_mentions_shape(data: Dataset, *, column: str = "pseudo", gold: str = "tags") -> Dataset:
    """Tags where there were tags."""
    return data.with_columns({column: torch.zeros_like(data.column(gold))})


def _placed(spans: list[Tensor], free: Tensor, generator: torch.Generator) -> Tensor | None:
    """Tags [W] with the spans at random free places; None if they do not fit."""
    for _ in range(20):
        room, result, done = free.clone(), torch.zeros(len(free), dtype=torch.int64), True
        for span in spans:
            fits = room.unfold(0, len(span), 1).all(1).nonzero().flatten()
            if not len(fits):
                done = False
                break
            at = int(fits[torch.randint(len(fits), (), generator=generator)])
            result[at : at + len(span)] = span
            room[at : at + len(span)] = False
        if done:
            return result
    return None


@label
def foreign_as_class(data: Dataset, *, column: str = "pseudo", gold: str = "tags") -> Dataset:
    """Write the mentions of ``column`` into ``gold`` as one further type, where ``gold`` is 0; there are two more classes.

    Both are tags [rows, words] (int64), odd where a mention starts: of C classes, a word that starts a foreign mention gets the
    tag C, one inside C + 1. Raises ``InputError`` for data that does not say how many classes it has.

    >>> columns = {"pseudo": torch.tensor([[1, 2, 3, 0]]), "tags": torch.tensor([[0, 0, 1, 0]])}
    >>> pool = data.MemoryDataset(columns, data.DataInfo({}, classes=3))
    >>> parts.foreign_as_class(pool).column("tags")
    tensor([[3, 4, 1, 0]])
    """
    rows = data.rows()
    tags, foreign = rows[gold], rows[column]
    classes = data.info.classes
    if classes is None:
        raise InputError("foreign_as_class needs data that says how many tags it has")
    further = torch.where(foreign % 2 == 1, classes, classes + 1)
    return data.with_columns({gold: torch.where((tags == 0) & (foreign > 0), further, tags)}, classes=classes + 2)


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

    ``oracle`` reads the column ``secret`` [rows, length]; ``pattern`` marks targets inside a match of one of the regular
    expressions ``patterns`` in a row's text (by default runs of digits, and addresses of e-mail), which is ``tokens`` and
    ``target`` [rows, length] (int64) decoded; ``learned`` takes the probability that ``model``, a tagger of two classes over
    token ids, gives to class 1. Raises ``InputError`` for a text without a tokenizer, a bad pattern, or no tagger.
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
