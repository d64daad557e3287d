"""What two vocabularies have in common, as tensors for a step."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops.token_alignment import edit_distances
from kdrun.registry import reduce, shape_of
from kdrun.runtime.context import Context

__all__ = ["entry_map", "nearest_entries"]


@reduce(random=False)
def entry_map(data: Dataset, *, take: Literal["same", "first"] = "same", context: Context) -> Tensor:
    """The student's id for each id of a teacher's vocabulary [entries] (int64), -1 where there is none.

    ``data`` has a row an id, as the split ``entries`` of ``aligned_text``: ``same`` means ids of the same text, ``first`` the token
    with which the student begins to read the text. The run says how many there are. Raises ``InputError`` if there is none.
    """
    found = data.column(take)
    count = int((found >= 0).sum())
    if count == 0:
        raise InputError("the two vocabularies have nothing in common", key=context.config_key)
    context.reporter.message(f"{context.name}: {count} of the teacher's {len(found)} entries have one of the student's")
    return found


@shape_of("reduce", "entry_map")
def entry_map_shape(data: Dataset, *, take: Literal["same", "first"] = "same") -> Tensor:
    """As many as there are rows."""
    return torch.zeros(len(data), dtype=torch.int64)


AT_ONCE = 4_000_000
"""Pairs of entries whose distances are computed together."""


@reduce(random=False)
def nearest_entries(data: Dataset, own: Dataset, *, context: Context) -> Tensor:
    """The student's id that is written most alike, for each id of a teacher's vocabulary: [entries] (int64), -1 for no text.

    By the least edit distance (Wan et al., 2024), of equal ones the first id; one of the same text is its own. ``data`` and ``own``
    have a row an id with its characters, as the splits ``entries`` and ``own_entries`` of ``aligned_text``. The run says how many
    are written alike, and by how many characters the others differ. Vocabularies of 30,000 ids take minutes, once. Raises
    ``InputError`` where one of the vocabularies has no text.
    """
    texts, others = data.column("text"), own.column("text")
    known, candidates = (texts >= 0).any(1), (others >= 0).any(1).nonzero().flatten()
    if not known.any() or not len(candidates):
        raise InputError("the two vocabularies have no text to compare", key=context.config_key)
    found, apart = torch.full((len(texts),), -1), torch.zeros(len(texts), dtype=torch.int64)
    written = _cut(others[candidates])
    for rows in known.nonzero().flatten().split(max(AT_ONCE // written.numel(), 1)):
        least = edit_distances(_cut(texts[rows])[:, None], written[None]).min(1)
        apart[rows], found[rows] = least.values, candidates[least.indices]
    same = int((known & (apart == 0)).sum())
    mean = apart[known].double().mean().item()
    said = f"{same} of the teacher's {len(texts)} entries are written as one of the student's, all {mean:.2g} characters apart in the mean"
    context.reporter.message(f"{context.name}: {said}")
    return found


@shape_of("reduce", "nearest_entries")
def nearest_entries_shape(data: Dataset, own: Dataset) -> Tensor:
    """As many as there are rows."""
    return torch.zeros(len(data), dtype=torch.int64)


def _cut(texts: Tensor) -> Tensor:
    """Without the columns in which no text has a character."""
    return texts[:, : int((texts >= 0).sum(1).max())]
