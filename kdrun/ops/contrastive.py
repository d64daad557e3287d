"""Contrastive losses: in a batch, against memory banks, and among self-supervised views.

No function detaches its inputs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_rows, require_same_shape
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Count, Fraction, NonNegative, Positive

__all__ = [
    "info_nce",
    "memory_contrastive_loss",
    "self_supervised_relation_loss",
    "swapped_prediction",
    "view_matching_loss",
]


@op
def info_nce(
    first: Tensor,
    second: Tensor,
    targets: Tensor | None = None,
    bank: Tensor | None = None,
    *,
    temperature: Positive = 0.1,
    symmetric: bool = False,
    both_views: bool = False,
    normalize: bool = True,
    mean_over_positives: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Cross-entropy of each row of ``first`` finding its partner in ``second`` (van den Oord et al., 2018).

    ``-log softmax(<first_i, second_j> / temperature)`` at the partner. ``first`` and ``second`` [batch, dim],
    L2-normalised here unless ``normalize`` is false. The partner is the row of the same index, or ``targets`` [batch,
    rows of second] holds weights (soft targets, or a mask of positives, which ``mean_over_positives`` divides by its
    row sums). ``bank`` [count, dim] holds further negatives. ``symmetric`` averages both directions. ``both_views`` is
    NT-Xent (Chen et al., 2020): the other rows of both inputs are negatives, and the mean is over 2·batch rows. Raises
    ``ValueError`` for other shapes.

    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ops.info_nce(rows, torch.ones(2, 2))  # ln 2: no telling them apart
    tensor(0.6931)
    >>> ops.info_nce(rows, rows, temperature=0.5), ops.info_nce(rows, rows.flip(0), temperature=0.5)
    (tensor(0.1269), tensor(2.1269))
    """
    require_rows(first, second)
    if targets is None or symmetric or both_views:
        require_same_shape(first, second, "first and second")
    if normalize:
        first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
        bank = None if bank is None else F.normalize(bank, dim=1)
    if both_views:
        rows = torch.cat(
            [_two_view_rows(first, second, bank, temperature), _two_view_rows(second, first, bank, temperature)]
        )
        return reduce_rows(rows, reduction)
    scores = first @ second.T / temperature
    rows = _soft_rows(_with_bank(scores, first, bank, temperature), targets, mean_over_positives)
    if symmetric:
        turned = None if targets is None else targets.T
        back = _soft_rows(_with_bank(scores.T, second, bank, temperature), turned, mean_over_positives)
        rows = (rows + back) / 2
    return reduce_rows(rows, reduction)


def _with_bank(scores: Tensor, queries: Tensor, bank: Tensor | None, temperature: float) -> Tensor:
    return scores if bank is None else torch.cat([scores, queries @ bank.T / temperature], dim=1)


def _soft_rows(scores: Tensor, targets: Tensor | None, mean_over_positives: bool) -> Tensor:
    """Minus the target-weighted log-probabilities of each row; the diagonal where there are no targets."""
    logs = scores.log_softmax(1)
    if targets is None:
        return -logs.diagonal()
    targets = targets.to(logs.dtype)
    rows = -(targets * logs[:, : targets.shape[1]]).sum(1)
    return rows / targets.sum(1).clamp_min(torch.finfo(logs.dtype).tiny) if mean_over_positives else rows


def _two_view_rows(queries: Tensor, partners: Tensor, bank: Tensor | None, temperature: float) -> Tensor:
    itself = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
    own = (queries @ queries.T / temperature).masked_fill(itself, -torch.inf)
    scores = torch.cat([queries @ partners.T / temperature, own], dim=1)
    return -_with_bank(scores, queries, bank, temperature).log_softmax(1).diagonal()


@op
def memory_contrastive_loss(
    student_embed: Tensor,
    teacher_embed: Tensor,
    memory_student: Tensor,
    memory_teacher: Tensor,
    pos_idx: Tensor,
    contrast_idx: Tensor,
    constants: Tensor | None = None,
    *,
    temperature: Positive = 0.07,
    momentum: Fraction = 0.5,
    num_samples: Count | None = None,
    num_negatives: Count | None = None,
    eps: Positive = 1e-7,
) -> Tensor:
    """Noise-contrastive distillation against memory banks (Tian et al., 2020), both directions added: a scalar.

    Embeds [batch, dim] and banks [samples, dim], all L2-normalised; ``pos_idx`` [batch], the rows' own places in the
    banks; ``contrast_idx`` [batch, 1 + negatives], column 0 the own place (int64), as ``random_partners`` gives them.
    Scores are ``exp(<embed, bank row>/temperature)/Z``, the student's with the teacher's bank and the other way round;
    each direction is ``-(1/batch)[Σ log p⁺/(p⁺+K/N+eps) + Σ log (K/N)/(p⁻+K/N+eps)]`` with K negatives of N samples
    (taken from the shapes unless given).

    ``constants`` [2] holds the two Z and is filled in place where it is 0: mean of the exponentials times N, without a
    gradient; without it Z comes from this batch. Last, without a gradient and **in place**, the banks' own rows become
    the normalised mixture ``momentum·row + (1-momentum)·embed``. Raises ``ValueError`` if the embeds differ in shape.

    >>> banks = [torch.eye(3), torch.eye(3)]  # the student's and the teacher's
    >>> own, others = torch.tensor([0]), torch.tensor([[0, 1, 2]])
    >>> embed = torch.tensor([[0.0, 1.0, 0.0]])
    >>> ops.memory_contrastive_loss(embed, embed, *banks, own, others, temperature=1.0)
    tensor(4.6418)
    >>> banks[0][0]  # half way to the new embedding
    tensor([0.7071, 0.7071, 0.0000])
    """
    require_same_shape(student_embed, teacher_embed, "student_embed and teacher_embed")
    samples = num_samples or len(memory_student)
    share = (num_negatives or contrast_idx.shape[1] - 1) / samples
    total: Tensor | None = None
    for place, (embed, bank) in enumerate(((student_embed, memory_teacher), (teacher_embed, memory_student))):
        scores = (torch.einsum("bkd,bd->bk", bank[contrast_idx], embed) / temperature).exp()
        with torch.no_grad():
            constant = scores.mean() * samples
            if constants is not None:
                constant = torch.where(constants[place] > 0, constants[place], constant)
                constants[place] = constant
        loss = _binary_contrast(scores / constant, share, eps)
        total = loss if total is None else total + loss
    with torch.no_grad():
        for embed, bank in ((student_embed, memory_student), (teacher_embed, memory_teacher)):
            mixed = momentum * bank[pos_idx] + (1 - momentum) * embed.detach().to(bank.dtype)
            bank.index_copy_(0, pos_idx, F.normalize(mixed, dim=1))
    assert total is not None
    return total


def _binary_contrast(scores: Tensor, share: float, eps: float) -> Tensor:
    positive = (scores[:, 0] / (scores[:, 0] + share + eps)).log().sum()
    negative = (share / (scores[:, 1:] + share + eps)).log().sum()
    return -(positive + negative) / len(scores)


@op
def self_supervised_relation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_ss: Tensor,
    teacher_ss: Tensor,
    labels: Tensor,
    *,
    kl_temp: Positive = 4.0,
    ss_temp: Positive = 0.5,
    tf_temp: Positive = 4.0,
    ss_ratio: Fraction = 0.75,
    tf_ratio: Fraction = 1.0,
    loss_weights: list[NonNegative] = (1.0, 0.9, 10.0, 2.7),  # type: ignore[assignment]
) -> Tensor:
    """Distillation with self-supervised views (Xu et al., 2020): weighted CE + KL + relation KL + transformed KL.

    Four views an image in rows 4i..4i+3, the first untransformed: logits [4n, classes], head outputs [4n, dim];
    ``labels`` [n] (int64). CE and KL are on the untransformed rows; the relation KL on softmaxed cosines of each
    transformed row with the n untransformed ones; the last KL on the transformed rows' logits. Each KL is a mean over
    its rows times its temperature squared. Relation and transformed KL keep the rows that the teacher gets right and
    the given share of the wrong ones, the least wrong first (by the rank of the right column, ties in row order).
    Raises ``ValueError`` unless there are 4 rows a label.

    >>> logits, views, labels = torch.zeros(8, 2), torch.eye(8), torch.tensor([0, 1])
    >>> ops.self_supervised_relation_loss(logits, logits, views, views, labels)  # cross-entropy alone is left: ln 2
    tensor(0.6931)
    """
    count = len(labels)
    if len(student_logits) != 4 * count or len(student_ss) != 4 * count:
        raise ValueError(
            f"expected 4 views of each of {count} labels, got {len(student_logits)} and {len(student_ss)} rows"
        )
    student, teacher = student_logits.reshape(count, 4, -1), teacher_logits.reshape(count, 4, -1)
    turned, turned_teacher = student[:, 1:].flatten(0, 1), teacher[:, 1:].flatten(0, 1)
    relation, relation_teacher = _view_similarity(student_ss, count), _view_similarity(teacher_ss, count)
    own = torch.arange(count, device=labels.device).repeat_interleave(3)
    terms = (
        F.cross_entropy(student[:, 0], labels),
        _softened_kl(student[:, 0], teacher[:, 0], kl_temp, None),
        _softened_kl(relation, relation_teacher, ss_temp, _kept_rows(relation_teacher, own, ss_ratio)),
        _softened_kl(
            turned, turned_teacher, tf_temp, _kept_rows(turned_teacher, labels.repeat_interleave(3), tf_ratio)
        ),
    )
    return torch.stack([weight * term for weight, term in zip(loss_weights, terms, strict=True)]).sum()


@op
def view_matching_loss(embeds: Tensor, *, temperature: Positive = 0.5) -> Tensor:
    """Cross-entropy of each transformed view finding its own image (Xu et al., 2020, eq. 1): a scalar.

    ``embeds`` [4n, dim]: four views an image in rows 4i..4i+3, the first untransformed; scores are cosines over the
    temperature. Raises ``ValueError`` unless the rows are a multiple of 4.

    >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ops.view_matching_loss(images.repeat_interleave(4, 0)), ops.view_matching_loss(torch.ones(8, 2))
    (tensor(0.1269), tensor(0.6931))
    """
    if len(embeds) % 4:
        raise ValueError(f"expected 4 views an image, got {len(embeds)} rows")
    count = len(embeds) // 4
    own = torch.arange(count, device=embeds.device).repeat_interleave(3)
    return F.cross_entropy(_view_similarity(embeds, count) / temperature, own)


def _view_similarity(head: Tensor, count: int) -> Tensor:
    """Cosines [3n, n] of the transformed rows with the untransformed ones."""
    rows = F.normalize(head, dim=1).reshape(count, 4, -1)
    return rows[:, 1:].flatten(0, 1) @ rows[:, 0].T


def _softened_kl(student: Tensor, teacher: Tensor, temperature: float, kept: Tensor | None) -> Tensor:
    log_student, log_teacher = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    rows = (log_teacher.exp() * (log_teacher - log_student)).sum(1)
    return temperature**2 * reduce_rows(rows, "mean", mask=kept)


def _kept_rows(scores: Tensor, right: Tensor, share: float) -> Tensor:
    """Mask [rows] of the rows whose right column ranks first, and of ``share`` of the others, lowest ranks first."""
    target = scores.gather(1, right.unsqueeze(1))
    rank = (scores > target).sum(1)
    wrong = rank > 0
    # Sorted by rank, the right rows come first; a wrong row's place among the wrong ones is what is left.
    place = torch.argsort(torch.argsort(rank, stable=True), stable=True) - (~wrong).sum()
    quota = (share * wrong.sum().double()).floor()
    return ~wrong | (place < quota)


@op
def swapped_prediction(logits: Tensor, targets: Tensor, *, temperature: Positive = 0.1) -> Tensor:
    """Cross-entropy of each view's targets with what every other view predicts (Caron et al., 2020): [heads].

    ``logits`` [views, batch, heads, classes] and ``targets`` [targeted, batch, heads, classes] of the first views; a mean over rows,
    and over pairs of a targeted view and another one. Raises ``ValueError`` if there is no such pair.

    >>> target = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
    >>> ops.swapped_prediction(torch.zeros(2, 1, 1, 2), target)  # ln 2
    tensor([0.6931])
    """
    logs = F.log_softmax(logits / temperature, dim=-1)
    pairs = [(v, w) for v in range(len(targets)) for w in range(len(logits)) if v != w]
    if not pairs:
        raise ValueError("swapped prediction needs two views, one of them with targets")
    return torch.stack([-(targets[v] * logs[w]).sum(-1).mean(0) for v, w in pairs]).mean(0)
