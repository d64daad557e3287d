"""Metrics of language models, from the losses of single tokens (``cross_entropy`` with ``reduction: none``)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import metric

__all__ = ["canary_exposure", "exact_match", "perplexity"]


@metric(best="lowest")
def perplexity(losses: Tensor, mask: Tensor | None = None) -> float:
    """Exponential of the mean negative log likelihood (nats) over all tokens, or those that ``mask`` keeps; 1 or more.

    ``losses`` and ``mask`` (nonzero counts) [rows, length].

    >>> losses = torch.log(torch.tensor([[2.0, 2.0, 100.0]]))
    >>> round(metrics.perplexity(losses, torch.tensor([[1, 1, 0]])), 4)  # as unsure as between two tokens
    2.0
    """
    values = losses.double()
    return (values.mean() if mask is None else values[mask.bool()].mean()).exp().item()


@metric
def canary_exposure(losses: Tensor, secret: Tensor, canary: Tensor, inserted: Tensor) -> dict[str, float]:
    """How far models prefer inserted secrets to other candidates (Carlini et al., 2019).

    The exposure of a secret is ``log2 candidates - log2 rank``. ``losses`` [rows, length], negative log likelihoods of
    the tokens of each candidate; those where ``secret`` [rows, length] is not 0 are summed, and candidates of a
    ``canary`` [rows] are ranked by it, the likeliest first with rank 1; equals share their mean rank. ``inserted``
    [rows] is not 0 at the one true candidate.

    Gives the mean ``exposure`` over canaries in bits (1.44 for secrets that were never seen, the candidates being
    many), its ``share`` of the maximum ``log2 candidates``, and the share of canaries ``extracted``: with rank 1.
    Raises ``InputError`` unless each canary has one true candidate and one number of candidates holds for all.

    >>> losses, secret = torch.tensor([[0.1], [2.0], [3.0], [4.0]]), torch.ones(4, 1)
    >>> metrics.canary_exposure(losses, secret, torch.zeros(4), torch.tensor([1, 0, 0, 0]))  # the likeliest of four
    {'exposure': 2.0, 'share': 1.0, 'extracted': 1.0}
    >>> metrics.canary_exposure(losses, secret, torch.zeros(4), torch.tensor([0, 1, 0, 0]))["exposure"]
    1.0
    """
    scores = torch.where(secret.bool(), losses.double(), 0.0).sum(1)
    bits, ranks, counts = [], [], set()
    for number in canary.unique():
        rows = canary == number
        own, true = scores[rows], inserted[rows].bool()
        if int(true.sum()) != 1:
            raise InputError(f"canary {int(number)} has {int(true.sum())} inserted candidates instead of 1")
        better, equal = (own < own[true]).sum().item(), (own == own[true]).sum().item()
        ranks.append(better + (equal + 1) / 2)
        bits.append(math.log2(len(own)) - math.log2(ranks[-1]))
        counts.add(len(own))
    if len(counts) != 1:
        raise InputError(f"canaries have different numbers of candidates: {sorted(counts)}")
    mean, most = sum(bits) / len(bits), math.log2(counts.pop())
    extracted = sum(rank == 1 for rank in ranks) / len(ranks)
    return {"exposure": mean, "share": mean / most if most else math.nan, "extracted": extracted}


@metric
def exact_match(generated: Tensor, answer: Tensor, *, padding: int = -100) -> float:
    """Share of rows whose first generated tokens are the answer's, its full stop included if it has one; from 0 to 1.

    ``generated`` [rows, length] and ``answer`` [rows, up to length] (int64), the answer padded on the right by
    ``padding``. Raises ``InputError`` if answers are longer than what was generated.

    >>> metrics.exact_match(torch.tensor([[5, 6, 7], [5, 6, 7]]), torch.tensor([[5, 6], [5, 7]]))
    0.5
    """
    length = answer.shape[1]
    if generated.shape[1] < length:
        raise InputError(f"answers have up to {length} tokens, but only {generated.shape[1]} were generated")
    same = (generated[:, :length] == answer) | (answer == padding)
    return same.all(1).double().mean().item()
