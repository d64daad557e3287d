"""How well texts answer a query by the words that they share."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Fraction, NonNegative, Unsigned

__all__ = ["bm25_scores"]


@op
def bm25_scores(
    query: Tensor,
    documents: Tensor,
    *,
    k1: NonNegative = 1.5,
    b: Fraction = 0.75,
    ignored: list[Unsigned] = (0,),  # type: ignore[assignment]
) -> Tensor:
    """BM25 (Robertson & Zaragoza, 2009) of documents for queries, both rows of word numbers: [queries, documents] (float32).

    ``Σ_w idf(w) · f (k1 + 1) / (f + k1 (1 - b + b · length / mean length))`` over the words w of a query [queries, length] (int64), each as
    often as it stands there, f times in a document [documents, length]; ``idf = ln(1 + (N - n + ½) / (n + ½))`` for n of N documents with
    the word. ``ignored`` are numbers that are no words, such as padding. Not negative; 0 where no word is shared.

    >>> ops.bm25_scores(torch.tensor([[5, 0]]), torch.tensor([[5, 6], [7, 0], [8, 8]]), b=0.0)
    tensor([[0.9808, 0.0000, 0.0000]])
    """
    word = torch.ones_like(documents, dtype=torch.bool)
    asked = torch.ones_like(query, dtype=torch.bool)
    for one in ignored:
        word, asked = word & (documents != one), asked & (query != one)
    length = word.sum(1).float()
    norm = k1 * (1 - b + b * length / length.mean().clamp_min(1e-12))
    total = torch.zeros(len(query), len(documents), device=documents.device)
    for place in range(query.shape[1]):
        same = (query[:, place, None, None] == documents) & word
        found = same.sum(2).float()
        within = (found > 0).sum(1, keepdim=True).float()
        rare = torch.log1p((len(documents) - within + 0.5) / (within + 0.5))
        score = rare * found * (k1 + 1) / (found + norm).clamp_min(1e-12)
        total = total + torch.where(asked[:, place, None], score, torch.zeros_like(score))
    return total
