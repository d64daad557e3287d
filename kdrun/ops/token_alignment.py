"""Tokens of one text in two vocabularies, aligned by how alike they are written.

The least number of changed characters tells which tokens stand for each other (Wan et al., 2024, "Knowledge Fusion of Large
Language Models"), where ``kdrun/ops/vocabularies.py`` asks that both have read the same text.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op, shape_of

__all__ = ["edit_aligned_places", "edit_distances"]


@op
def edit_distances(first: Tensor, second: Tensor) -> Tensor:
    """Levenshtein's distance of texts: the least number of characters to put in, take out or change; int64, not negative.

    ``first`` [..., W] and ``second`` [..., V] (int64): codes of characters, -1 behind the last. The other dimensions are those of
    the answer, stretched where one is 1.

    >>> ops.edit_distances(torch.tensor([1, 2, 3]), torch.tensor([[1, 3, -1], [2, 2, 3], [-1, -1, -1]]))
    tensor([1, 1, 3])
    """
    lengths, others = torch.broadcast_tensors((first >= 0).sum(-1), (second >= 0).sum(-1))
    places = torch.arange(second.shape[-1] + 1, device=second.device)
    row = places.expand(*lengths.shape, len(places))  # from nothing to the first characters of the second
    found = others
    for i in range(first.shape[-1]):
        changed = row[..., :-1] + (first[..., i, None] != second)
        best = F.pad(torch.minimum(changed, row[..., 1:] + 1), (1, 0), value=i + 1)
        row = (best - places).cummin(-1).values + places  # or one more put in than on the left
        found = torch.where(lengths == i + 1, row.gather(-1, others.unsqueeze(-1)).squeeze(-1), found)
    return found


@op
def edit_aligned_places(text: Tensor, ends: Tensor, other_ends: Tensor) -> Tensor:
    """For each target the other text's target that is written in its place: [batch, length] (int64), else -1.

    Of all ways through both rows of targets, from the first pair to the last, in steps that go on in one of them or in both, the one
    with the least sum of ``edit_distances`` between the tokens that it pairs; of equal ones that with the fewest pairs which share no
    piece of the text. A target is aligned where it is paired with one alone, and that with it alone; the two need not be the same text. ``text`` [batch, characters]
    (int64): codes of the characters; ``ends`` [batch, length + 1] and ``other_ends`` [batch, other length + 1] (int64): how many are
    read with each token, -1 for padding and parts of characters.

    >>> text = torch.tensor([[7, 8, 8, 9]])
    >>> ops.edit_aligned_places(text, torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[0, 1, 3, 4]]))  # a b b c, and a bb c
    tensor([[ 0, -1, -1,  2]])
    """
    (first, count), (second, other_count) = _written(text, ends), _written(text, other_ends)
    apart = ~_share_text(ends, other_ends)
    cost = edit_distances(first[:, :, None], second[:, None, :]) * sum(apart.shape[1:]) + apart
    on = _path(_least_sums(cost), count - 1, other_count - 1)
    alone = on & (on.sum(2, keepdim=True) == 1) & (on.sum(1, keepdim=True) == 1)
    real = torch.arange(on.shape[1], device=on.device) < count[:, None]
    return torch.where(alone.any(2) & real & (other_count > 0)[:, None], alone.to(torch.int64).argmax(2), -1)


@shape_of("op", "edit_aligned_places")
def _a_place_a_target(text: Tensor, ends: Tensor, other_ends: Tensor) -> Tensor:
    """One for each target, whatever is written there."""
    return ends[:, 1:]


def _bounds(ends: Tensor) -> tuple[Tensor, Tensor]:
    """Where in the text each target begins and ends [batch, length]; at one place where it reads no whole character."""
    read = ends.clamp_min(0).cummax(1).values
    return read[:, :-1], read[:, 1:]


def _share_text(ends: Tensor, other_ends: Tensor) -> Tensor:
    """Whether two targets have a character in common: [batch, length, other length]."""
    (start, stop), (other_start, other_stop) = _bounds(ends), _bounds(other_ends)
    return (start[:, :, None] < other_stop[:, None, :]) & (other_start[:, None, :] < stop[:, :, None])


def _written(text: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """What each target is written with [batch, length, W], -1 behind its last character, and how many targets there are [batch]."""
    places = torch.arange(ends.shape[1], device=ends.device)
    count = torch.where(ends >= 0, places, 0).amax(1)
    start, stop = (bound.unsqueeze(2) for bound in _bounds(ends))
    within = start + torch.arange(int((stop - start).max()), device=ends.device)
    codes = text[:, None, :].expand(-1, ends.shape[1] - 1, -1).gather(2, within.clamp_max(text.shape[1] - 1))
    return torch.where(within < stop, codes, -1), count


def _least_sums(cost: Tensor) -> Tensor:
    """The least sum of costs on a way from the first pair to each one, with it: [batch, length, other length]."""
    rows = [cost[:, 0].cumsum(1)]
    for here in cost.unbind(1)[1:]:
        sums = here.cumsum(1)
        entered = torch.minimum(rows[-1], F.pad(rows[-1][:, :-1], (1, 0), value=_far(cost)))
        rows.append(sums + (entered + here - sums).cummin(1).values)
    return torch.stack(rows, 1)


def _far(cost: Tensor) -> int:
    """More than any way costs."""
    return 1 + int(cost.sum(dim=(1, 2)).max())


def _path(least: Tensor, last: Tensor, other_last: Tensor) -> Tensor:
    """The pairs on the cheapest way to the last pair of each row: [batch, length, other length] (bool)."""
    rows, on = torch.arange(len(least), device=least.device), torch.zeros_like(least, dtype=torch.bool)
    before = F.pad(least, (1, 0, 1, 0), value=1 + int(least.max()))
    i, j = last.clamp_min(0), other_last.clamp_min(0)
    for _ in range(least.shape[1] + least.shape[2] - 1):
        on[rows, i, j] = True
        both, first, second = before[rows, i, j], before[rows, i, j + 1], before[rows, i + 1, j]
        step = torch.stack([both, first, second], 1).argmin(1)
        back = (step != 2).to(torch.int64) * (i > 0), (step != 1).to(torch.int64) * (j > 0)
        i, j = i - back[0], j - back[1]
    return on
