"""Stage parts for tagged text: few-shot choices, pseudo labels beside gold ones, weights for pairs of entities."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops import similarity
from kdrun.ops.spans import first_pieces, mention_starts
from kdrun.registry import initialize, label, select, shape_of, solve
from kdrun.runtime.artifacts import Model
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Fraction

__all__ = [
    "few_shot_by_tag",
    "foreign_as_class",
    "new_head",
    "pseudo_tags",
    "scattered_mentions",
    "set_pair_similarity",
]


@select
def few_shot_by_tag(data: Dataset, *, share: Fraction, column: str = "tags", generator: torch.Generator) -> Dataset:
    """For each tag but 0 in turn, the first rows of a random order that have it, ``share / tags`` of all rows; their union.

    ``column`` holds tags [rows, W] (int64). At least one row a tag; a tag in too few rows gives what it has.
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
    """Add a tagger's most likely tags by word: ``column`` [rows, T] (int64), -100 at padding.

    With ``exclude_gold`` they stand only where ``gold`` [rows, T] is 0, so that they never cover a gold mention. The
    model reads ``tokens`` and gives logits by piece; the column ``first`` marks first pieces, where there is one.
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

    They do not overlap. A row where they find no room in 20 attempts keeps its own. A control for pseudo labels.
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
    """Write the mentions of ``column`` into ``gold`` as one further type, where ``gold`` is 0; there are two more classes."""
    rows = data.rows()
    tags, foreign = rows[gold], rows[column]
    classes = data.info.classes
    if classes is None:
        raise InputError("foreign_as_class needs data that says how many tags it has")
    further = torch.where(foreign % 2 == 1, classes, classes + 1)
    return data.with_columns({gold: torch.where((tags == 0) & (foreign > 0), further, tags)}, classes=classes + 2)


@initialize
def new_head(model: Module, data: Dataset, *, head: str = "head", context: Context) -> Module:
    """The model with a fresh last layer for the classes of ``data``; all other weights, and what is frozen, stay.

    ``head`` is the path of that layer. Raises ``InputError`` if the model's part has no ``num_classes`` or no such layer.
    """
    spec = dict(getattr(model, "kdrun_spec", {}))
    if "num_classes" not in spec or data.info.classes is None:
        raise InputError("new_head needs a model with num_classes, and data that says how many classes it has")
    own = model.state_dict()
    if not any(k.startswith(f"{head}.") for k in own):
        raise InputError(f"the model has no layer '{head}' with weights")
    fresh = context.module(Model({**spec, "num_classes": data.info.classes}, None))
    kept = {k: v for k, v in own.items() if not k.startswith(f"{head}.")}
    fresh.load_state_dict(kept, strict=False)
    if not hasattr(fresh, "kdrun_spec"):  # on fake tensors
        object.__setattr__(fresh, "kdrun_spec", {**spec, "num_classes": data.info.classes})
    return fresh


@solve(random=False)
def set_pair_similarity(
    data: Dataset,
    encoder: Module | None = None,
    *,
    owner: str = "entity",
    count: Count | None = None,
    aggregate: Literal["max", "mean", "min", "centroid"] = "max",
    batch_size: Count = 512,
    context: Context,
) -> Tensor:
    """How alike things are by the sets of vectors that they own: [count, count], as the op of this name.

    Each row of ``data`` has the number of its ``owner`` (int64) and a ``vector`` [dim], or ``encoder`` makes one of its
    ``tokens``. ``count`` is by default what the data says (``extra['owners']``). Raises ``InputError`` if either is missing.
    """
    rows = data.rows()
    number = count or data.info.extra.get("owners")
    if number is None:
        raise InputError("set_pair_similarity needs count: this data does not say how many owners it has")
    if encoder is not None:
        features = outputs_over(encoder, data, {}, input="tokens", batch_size=batch_size, context=context)["logits"]
    elif "vector" in rows:
        features = rows["vector"]
    else:
        raise InputError("set_pair_similarity reads a column 'vector', or tokens by an encoder handed in")
    return similarity.set_pair_similarity(features, rows[owner], count=int(number), aggregate=aggregate)
