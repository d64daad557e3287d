"""Words in sequences of word pieces, and mentions: spans of words marked by BIO tags.

Tags are 0 for a word outside, ``2c - 1`` and ``2c`` for the first and any further word of a mention of type c = 1, 2 …;
a negative tag is padding. A mention is a first word with the further words of its type that follow it without a gap.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_shape
from kdrun.registry import op, shape_of

__all__ = ["first_pieces", "mention_starts", "span_mean_pool"]


@op
def first_pieces(values: Tensor, first: Tensor) -> Tensor:
    """What stands at each word's first piece, moved to the word's number: [batch, T, ...], 0 behind the last word.

    ``values`` [batch, T, ...]; ``first`` [batch, T] (bool) marks first pieces. Raises ``ValueError`` if these differ.

    >>> ops.first_pieces(torch.tensor([[7, 8, 9]]), torch.tensor([[True, False, True]]))  # two words of three pieces
    tensor([[7, 9, 0]])
    """
    require_same_shape(values[..., 0] if values.dim() == 3 else values, first, "values and first pieces")
    order = torch.argsort((~first.bool()).to(torch.int8), dim=1, stable=True)
    tail = (1,) * (values.dim() - 2)
    index = order.reshape(*order.shape, *tail).expand_as(values)
    real = first.bool().gather(1, order).reshape(*order.shape, *tail)
    return torch.where(real, values.gather(1, index), torch.zeros_like(values))


def mention_starts(tags: Tensor) -> tuple[Tensor, Tensor]:
    """Where the mention of each word begins, and whether the word is in one: int64 and bool, both [batch, W].

    ``tags`` [batch, W] (int64). Words outside give their own place.
    """
    places = torch.arange(tags.shape[1], device=tags.device).expand_as(tags)
    kind = torch.where(tags > 0, (tags + 1) // 2, 0)
    before = torch.nn.functional.pad(kind[:, :-1], (1, 0))
    goes_on = (tags > 0) & (tags % 2 == 0) & (kind == before)
    start = torch.where(goes_on, 0, places).cummax(1).values
    begun = ((tags > 0) & (tags % 2 == 1)).gather(1, start)
    return start, begun


@op
def span_mean_pool(
    states: Tensor,
    tags: Tensor,
    pseudo: Tensor | None = None,
    first: Tensor | None = None,
    values: Tensor | None = None,
) -> dict[str, Tensor]:
    """Mean state of each mention over its words, by row and then by first word (Liu et al., 2024).

    ``states`` [batch, T, dim]; ``tags`` [batch, T] (int64) by word; ``pseudo`` [batch, T], tags of other mentions,
    which count only where ``tags`` is 0; ``first`` [batch, T] (bool) marks first pieces (by default every position is a
    word). Gives ``features`` [n, dim] and ``labels`` [n] (int64): the type c, or with ``pseudo`` 0 for mentions of
    ``tags`` and 1 for the others; with ``values`` [batch, T] also ``values`` [n]: what stands there at each mention's
    first word. A plan counts with the most there can be, n = batch·T. Raises ``ValueError`` if states and tags differ.

    >>> states, tags = torch.tensor([[[1.0], [3.0], [9.0], [5.0]]]), torch.tensor([[1, 2, 0, 3]])  # two words of type 1
    >>> ops.span_mean_pool(states, tags)
    {'features': tensor([[2.],
            [5.]]), 'labels': tensor([1, 2])}
    """
    require_same_shape(states[..., 0], tags, "states and tags")
    if first is not None:
        states = first_pieces(states, first)
    joined = tags
    if pseudo is not None:
        shift = 1 << 20  # further than any type: mentions of the two kinds never join
        joined = torch.where((tags == 0) & (pseudo > 0), pseudo + shift, tags)
    start, inside = mention_starts(joined)
    index = start.unsqueeze(-1).expand_as(states)
    held = torch.where(inside.unsqueeze(-1), states, torch.zeros_like(states))
    sums = torch.zeros_like(states).scatter_add(1, index, held)
    counts = torch.zeros_like(start).scatter_add(1, start, inside.to(start.dtype))
    means = sums / counts.clamp_min(1).unsqueeze(-1).to(states.dtype)
    kind = (joined + 1) // 2 if pseudo is None else (joined > shift).to(torch.int64)
    begins = inside & (start == torch.arange(tags.shape[1], device=tags.device))
    found = {"features": means[begins], "labels": kind[begins]}
    if values is not None:
        found["values"] = values[begins]
    return found


@shape_of("op", "span_mean_pool")
def _every_word_a_mention(
    states: Tensor,
    tags: Tensor,
    pseudo: Tensor | None = None,
    first: Tensor | None = None,
    values: Tensor | None = None,
) -> dict[str, Tensor]:
    """As many mentions as there can be: [batch·T, ...]."""
    require_same_shape(states[..., 0], tags, "states and tags")
    if first is not None:
        states = first_pieces(states, first)
    given = {"features": states, "labels": tags, "values": values}
    return {name: value.flatten(0, 1) for name, value in given.items() if value is not None}
