"""Memory banks: what a network said of every row, kept across steps, and losses against it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.classification import cross_entropy
from kdrun.registry import op
from kdrun.types import Count, Fraction, NonNegative, Size

__all__ = [
    "anchor_attention_entropy",
    "averaged_bank",
    "bank_nearest_neighbours",
    "filled_banks",
    "neighbour_attraction",
    "neighbour_soft_cross_entropy",
    "zero_rows",
]


@op
def zero_rows(*, rows: Size = "auto", columns: Count) -> Tensor:
    """An empty bank: zeros [rows, columns] (float32); rows of zeros are nobody's neighbours.

    ``rows: auto`` is the number of rows of the data that the bank keeps.

    >>> ops.zero_rows(rows=2, columns=3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    return torch.zeros(int(rows), columns)


@op
def filled_banks(features: Tensor, probabilities: Tensor) -> dict[str, Tensor]:
    """Banks of all rows, for a ``refresh``: ``features`` [rows, dim] at unit length, and ``scores`` [rows, classes].

    ``features`` [rows, ...] are flattened and L2-normalised, ``probabilities`` [rows, classes] taken as they are.

    >>> ops.filled_banks(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.9, 0.1]]))
    {'features': tensor([[0.6000, 0.8000]]), 'scores': tensor([[0.9000, 0.1000]])}
    """
    return {"features": F.normalize(features.flatten(1), dim=1), "scores": probabilities}


@op
def bank_nearest_neighbours(
    features: Tensor,
    bank: Tensor,
    scores: Tensor,
    index: Tensor | None = None,
    probabilities: Tensor | None = None,
    *,
    k: Count,
    update: Literal["none", "before", "after"] = "none",
) -> dict[str, Tensor]:
    """The ``k`` nearest rows of a feature bank by cosine, without the row itself (Yang et al., 2021); no gradient.

    ``features`` [batch, dim]; ``bank`` [rows, dim] of unit rows (or zero where empty), ``scores`` [rows, classes]. Of
    the k + 1 nearest the first counts as the row itself and is dropped, whichever it is. Fields: ``scores`` [batch, k,
    classes], ``index`` [batch, k] (int64) and ``bank``, all scores as they are afterwards. ``update`` writes the batch, ``features`` and ``probabilities`` [batch,
    classes] at rows ``index`` [batch] (int64), into both banks in place, before or after neighbours are sought. Raises
    ``ValueError`` if the bank is too short or an update lacks what it writes.

    >>> bank = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> scores = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    >>> near = ops.bank_nearest_neighbours(torch.tensor([[2.0, 0.0]]), bank, scores, k=1)
    >>> near["scores"], near["index"]
    (tensor([[[0.5000, 0.5000]]]), tensor([[1]]))
    """
    if k + 1 > len(bank):
        raise ValueError(f"{k} neighbours beside the row itself do not fit in a bank of {len(bank)} rows")
    if update != "none" and (index is None or probabilities is None):
        raise ValueError("an update writes probabilities at the batch's rows: give index and probabilities")
    with torch.no_grad():
        query = F.normalize(features.detach().flatten(1).to(bank.dtype), dim=1)
        if update == "before":
            _write(bank, scores, index, query, probabilities)
        empty = ~bank.any(dim=1)
        similarity = (query @ bank.T).masked_fill(empty, -torch.inf)
        nearest = similarity.topk(k + 1, dim=1).indices[:, 1:]
        found = {"scores": scores[nearest], "index": nearest, "bank": scores}
        if update == "after":
            _write(bank, scores, index, query, probabilities)
    return found


def _write(bank: Tensor, scores: Tensor, index: Tensor | None, query: Tensor, probabilities: Tensor | None) -> None:
    assert index is not None
    assert probabilities is not None
    bank[index] = query
    scores[index] = probabilities.detach().to(scores.dtype)


@op
def neighbour_soft_cross_entropy(probabilities: Tensor, neighbours: Tensor, *, eps: NonNegative = 1e-5) -> Tensor:
    """``-Σ t log(p + eps)`` averaged over the batch, t the mean prediction of each row's neighbours, without gradient.

    ``probabilities`` [batch, classes], ``neighbours`` [batch, k, classes], as ``bank_nearest_neighbours`` gives their
    scores.

    >>> neighbours = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # they disagree: ln 2 is the best there is
    >>> ops.neighbour_soft_cross_entropy(torch.tensor([[0.5, 0.5]]), neighbours, eps=0.0)
    tensor(0.6931)
    """
    return cross_entropy(probabilities, neighbours.detach().mean(1), given="probabilities", eps=eps)


@op
def neighbour_attraction(probabilities: Tensor, neighbours: Tensor) -> Tensor:
    """Predictions drawn to those of their neighbours by dot products: batch mean of ``Σ_k Σ_c q (log q - p)`` (Yang et al., 2022).

    ``probabilities`` p [batch, classes]; ``neighbours`` q [batch, k, classes], without gradient. The logarithm is of q alone, so
    that it is ``-Σ_k q_k · p`` but for a constant: no KL divergence, whose pull on unsure predictions would be stronger.

    >>> neighbours = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> ops.neighbour_attraction(torch.tensor([[0.3, 0.7]]), neighbours)
    tensor(-1.)
    """
    q = neighbours.detach()
    return (torch.special.xlogy(q, q).sum(-1) - (q @ probabilities[:, :, None]).squeeze(-1)).sum(1).mean()


@op
def averaged_bank(held: Tensor, features: Tensor, *, momentum: Fraction = 0.9) -> dict[str, Tensor]:
    """Rows of a bank moved towards new ones, for a ``refresh``: ``features`` is ``(1 - momentum) · held + momentum · features``.

    Both [rows, dim]; nothing has a gradient. ``momentum`` is the share of what is new.

    >>> ops.averaged_bank(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    {'features': tensor([[1.9000]])}
    """
    return {"features": torch.lerp(held.detach(), features.detach().to(held.dtype), momentum)}


@op
def anchor_attention_entropy(
    features: Tensor,
    bank: Tensor,
    anchors: Tensor | None = None,
    index: Tensor | None = None,
    *,
    momentum: Fraction = 0.9,
    eps: NonNegative = 1e-5,
) -> Tensor:
    """Mean entropy of each row's attention to the anchors in a bank: least where each is like one of them (Lyu et al., 2024).

    ``-Σ_a A log(A + eps)``, A the softmax over anchors of the cosine, without a temperature; from about 0 to ln anchors.
    ``features`` [batch, dim]; ``bank`` [rows, dim], of which rows of zeros are no anchors. Then the features ``anchors`` [labelled,
    dim] move the bank in place at rows ``index`` [labelled] (int64), by ``momentum``, as in ``averaged_bank``. The gradient
    flows into ``features`` alone.

    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    >>> ops.anchor_attention_entropy(torch.tensor([[0.0, 3.0]]), bank, eps=0.0)  # as like one as the other: ln 2
    tensor(0.6931)
    >>> ops.anchor_attention_entropy(torch.tensor([[5.0, 0.0]]), bank, eps=0.0)
    tensor(0.3653)
    """
    with torch.no_grad():
        filled = bank.any(dim=1)
        hidden = filled.any() & ~filled  # with no anchor at all none is hidden, and the loss is 0
        unit = F.normalize(bank, dim=1).to(features.dtype)
    attention = (F.normalize(features, dim=1) @ unit.T).masked_fill(hidden, -torch.inf).softmax(1)
    inside = (attention + eps).clamp_min(torch.finfo(attention.dtype).tiny)
    loss = -(attention * inside.log()).sum(1).mean() * filled.any()
    if anchors is not None and index is not None:
        bank[index] = averaged_bank(bank[index], anchors, momentum=momentum)["features"]
    return loss
