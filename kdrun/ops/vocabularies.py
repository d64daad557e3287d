"""Predictions over two vocabularies: places where both have read the same text, entries that both have, likelihoods of the same text.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Positive

__all__ = [
    "aligned_places",
    "at_places",
    "common_spans",
    "shared_entry_divergence",
    "sorted_probability_distance",
    "span_likelihood_divergence",
    "unshared_mass",
]


@op
def aligned_places(ends: Tensor, other_ends: Tensor) -> Tensor:
    """For each token the other text's token with which the same characters have been read: [batch, length] (int64), else -1.

    ``ends`` [batch, length + 1] and ``other_ends`` [batch, other length + 1] (int64): how many characters of a row's text are read
    with each token, the last target included; -1 for padding and parts of characters. What follows is the same text for both, so
    there their predictions may be compared.

    >>> ops.aligned_places(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[2, 4, -1]]))  # a b c d, and ab cd
    tensor([[-1,  0, -1]])
    """
    same = _same(_followed(ends), _followed(other_ends))
    return torch.where(same.any(-1), same.to(torch.int64).argmax(-1), -1)


def _followed(ends: Tensor) -> Tensor:
    """The ends of the tokens that another one follows in the row: [batch, length]; the last end is that of a target alone."""
    places = torch.arange(ends.shape[1], device=ends.device)
    last = torch.where(ends >= 0, places, -1).amax(1, keepdim=True)
    return ends.masked_fill(places >= last, -1)[:, :-1]


def _same(ends: Tensor, other: Tensor) -> Tensor:
    """Which tokens of two texts end at one place: [batch, length, other length]."""
    return (ends[:, :, None] == other[:, None, :]) & (ends >= 0)[:, :, None]


@op
def at_places(values: Tensor, places: Tensor) -> Tensor:
    """The entries of each row at its own places: [batch, length, ...] and ``places`` [batch, n] (int64) to [batch, n, ...].

    0 where a place is -1.

    >>> ops.at_places(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2, -1, 0, 0]]))
    tensor([[3., 0., 1., 1.]])
    """
    index = places.clamp_min(0).reshape(*places.shape, *[1] * (values.dim() - 2))
    found = values.gather(1, index.expand(*places.shape, *values.shape[2:]))
    return found * (places >= 0).reshape(index.shape).to(values.dtype)


@op
def sorted_probability_distance(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Universal logit distillation (Boizard et al., 2024): the distance of predictions over different vocabularies, not negative.

    ``Σ_i |p_(i) - q_(i)|`` over probabilities in falling order, the shorter list continued by 0: the Wasserstein distance of order 1
    where any two entries are one apart. It knows how sure a prediction is, and nothing of what it says. At most 2.
    ``student`` [batch, ..., classes] and ``teacher`` [batch, ..., other classes] (logits), ``mask`` [batch, ...] (bool): what counts.

    >>> student, teacher = torch.tensor([[0.0, 9.0, 0.0]]), torch.tensor([[9.0, 0.0]])
    >>> ops.sorted_probability_distance(student, student.flip(1))
    tensor(0.)
    >>> round(ops.sorted_probability_distance(torch.zeros(1, 4), torch.zeros(1, 2)).item(), 4)  # ½ ½ 0 0 and ¼ ¼ ¼ ¼
    1.0
    """
    p, q = ((logits / temperature).softmax(-1).sort(-1, descending=True).values for logits in (teacher, student))
    most = max(p.shape[-1], q.shape[-1])
    p, q = (F.pad(value, (0, most - value.shape[-1])) for value in (p, q))
    return reduce_rows((p - q).abs().sum(-1), reduction, None, mask)


def _mapped(log_p: Tensor, entries: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Probabilities [..., classes] that entries of another vocabulary give their own, and which of these get any [classes]."""
    known = entries >= 0
    to = entries.clamp_min(0)
    shares = torch.where(known, log_p.exp(), torch.zeros_like(log_p))
    own = torch.zeros(*log_p.shape[:-1], classes, dtype=log_p.dtype, device=log_p.device).index_add(-1, to, shares)
    reached = torch.zeros(classes, device=log_p.device).index_add(0, to, known.to(torch.float32)) > 0
    return own, reached


@op
def shared_entry_divergence(
    student: Tensor,
    teacher: Tensor,
    entries: Tensor,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    squared_temperature: bool = False,
    rest: Literal["conditional", "bucket"] = "conditional",
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """KL(teacher ‖ student) over the entries that a student's vocabulary shares with a teacher's: not negative.

    ``student`` logits [batch, ..., classes], ``teacher`` logits [batch, ..., other classes], ``entries`` [other classes] (int64): the
    student's id for each of the teacher's, -1 for none; what several give to one id is added. With p and q the softmax of both at the
    ``temperature``, P and Q their mass on shared ids: ``conditional`` is ``P · KL(p / P ‖ q / Q)``, what is said among shared ids,
    weighted by how much of the prediction that is; ``bucket`` adds the divergence of (P, 1 - P) from (Q, 1 - Q), which wants the
    student to have ids of its own. The two are the divergence over the whole vocabulary where all ids are shared. ``mask``
    [batch, ...] (bool). The mass that is lost, 1 - P, is ``unshared_mass``. ``squared_temperature`` multiplies by T².

    >>> student, teacher = torch.zeros(1, 2), torch.log(torch.tensor([[0.6, 0.2, 0.2]]))
    >>> ops.shared_entry_divergence(student, teacher, torch.tensor([0, 1, -1]))  # 0.8 (¾ ln 3/2 + ¼ ln ½)
    tensor(0.1046)
    >>> ops.shared_entry_divergence(torch.log(torch.tensor([[0.6, 0.4]])), teacher, torch.tensor([0, 1, 1]))
    tensor(0.)
    """
    log_q = (student / temperature).log_softmax(-1)
    p, reached = _mapped((teacher / temperature).log_softmax(-1), entries, student.shape[-1])
    tiny = torch.finfo(p.dtype).tiny
    mass = p.sum(-1)
    log_mass_q = log_q.masked_fill(~reached, -torch.inf).logsumexp(-1)
    said = torch.xlogy(p, p) - p * log_q
    rows = said.sum(-1) - torch.xlogy(mass, mass) + mass * log_mass_q
    if rest == "bucket":
        lost, lost_q = (1 - mass).clamp_min(0), (-torch.expm1(log_mass_q)).clamp_min(tiny)
        rows = rows + torch.xlogy(mass, mass) - mass * log_mass_q + torch.xlogy(lost, lost) - lost * lost_q.log()
    rows = rows.clamp_min(0)
    scale = temperature**2 if squared_temperature else 1.0
    return scale * reduce_rows(rows, reduction, None, mask)


@op
def unshared_mass(teacher: Tensor, entries: Tensor, *, temperature: Positive = 1.0) -> Tensor:
    """The probability that a teacher gives to entries that the student's vocabulary lacks: [batch, ...] in [0, 1].

    ``teacher`` logits [batch, ..., classes], ``entries`` [classes] (int64), -1 for those that the student lacks.

    >>> ops.unshared_mass(torch.log(torch.tensor([[0.6, 0.3, 0.1]])), torch.tensor([4, -1, 0]))
    tensor([0.3000])
    """
    p = (teacher / temperature).softmax(-1)
    return torch.where(entries < 0, p, torch.zeros_like(p)).sum(-1)


@op
def common_spans(ends: Tensor, other_ends: Tensor) -> dict[str, Tensor]:
    """The shortest pieces of text that tokens of two vocabularies both make up, by target: which piece each belongs to, else -1.

    ``ends`` [batch, length + 1], ``other_ends`` [batch, other length + 1], as in ``aligned_places``. Gives ``spans`` [batch, length]
    and ``other_spans`` [batch, other length] (int64): pieces are counted from 0 in every row, and those of one number are the same
    text. Of what stands before the first common end nothing was predicted, and what stands behind the last is cut apart: -1.

    >>> ops.common_spans(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 3, 4]]))  # a b c d, and a bc d
    {'spans': tensor([[0, 0, 1]]), 'other_spans': tensor([[0, 1]])}
    """
    same = _same(ends, other_ends)
    return {"spans": _pieces(same.any(2)), "other_spans": _pieces(same.any(1))}


def _pieces(common: Tensor) -> Tensor:
    """Of each target the number of the piece between two common ends [batch, length + 1] (bool) in which it is read."""
    before = common.long().cumsum(1)[:, :-1]
    inside = (before > 0) & (before < common.sum(1, keepdim=True))
    return torch.where(inside, before - 1, -1)


@op
def span_likelihood_divergence(
    student: Tensor,
    student_targets: Tensor,
    student_spans: Tensor,
    teacher: Tensor,
    teacher_targets: Tensor,
    teacher_spans: Tensor,
    *,
    temperature: Positive = 100.0,
) -> Tensor:
    """How far the likelihoods differ that two models give to the same pieces of text (Minixhofer et al., 2025): a scalar, not negative.

    ``KL(P^(1/T) ‖ Q^(1/T))`` of two outcomes, this piece or any other text, with P and Q the products of the probabilities of a piece's
    tokens; the mean over pieces. ``temperature`` T keeps likelihoods of long pieces apart from 0. It needs nothing of the
    vocabularies but the tokens that stand there, and is 0 where the student finds each piece as likely as the teacher does.
    ``student`` logits [batch, length, classes], ``student_targets`` and ``student_spans`` [batch, length] (int64), the teacher's
    likewise with lengths and classes of their own; spans as in ``common_spans``.

    >>> student, teacher = torch.zeros(1, 2, 2), torch.zeros(1, 1, 4)  # ½ · ½ = ¼
    >>> one, two = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)
    >>> ops.span_likelihood_divergence(student, two, two, teacher, one, one)
    tensor(0.)
    """
    count = max(student_spans.shape[1], teacher_spans.shape[1])
    log_q, there = _span_log_likelihood(student, student_targets, student_spans, count)
    log_p, _ = _span_log_likelihood(teacher, teacher_targets, teacher_spans, count)
    log_p, log_q = (value.clamp_max(0.0) / temperature for value in (log_p, log_q))
    p, others = log_p.exp(), -torch.expm1(log_p)
    rows = p * (log_p - log_q) + others * (_log_others(log_p) - _log_others(log_q))
    return reduce_rows(rows.clamp_min(0), "mean", None, there)


def _log_others(log_p: Tensor) -> Tensor:
    """``log(1 - p)``, of which a p of 1 has none: it counts as the largest number below."""
    return torch.log(-torch.expm1(log_p.clamp_max(-torch.finfo(log_p.dtype).eps)))


def _span_log_likelihood(logits: Tensor, targets: Tensor, spans: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sums of log-probabilities of the targets by span [batch, count], and which spans there are (bool)."""
    counted = (spans >= 0) & (targets >= 0)
    chosen = logits.gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)
    index = spans.clamp_min(0)
    kept = torch.where(counted, chosen, torch.zeros_like(chosen))
    sums = torch.zeros(len(logits), count, dtype=kept.dtype, device=kept.device).scatter_add(1, index, kept)
    there = torch.zeros(len(logits), count, device=kept.device).scatter_add(1, index, counted.float()) > 0
    return sums, there
