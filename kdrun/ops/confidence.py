"""Confidence of predictions, and choices by it: which predictor, which rows."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_shape
from kdrun.ops.indexing import indicator
from kdrun.registry import op
from kdrun.types import Count, Fraction, NonNegative

__all__ = [
    "class_adaptive_confidence_select",
    "confidence_partition",
    "contrastive_margin",
    "max_probability",
    "supervised_confidence_partition",
    "top_margin",
]


@op
def max_probability(logits: Tensor) -> Tensor:
    """The confidence of each prediction, the largest probability: [batch] of logits [batch, classes], in [1/classes, 1].

    >>> ops.max_probability(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    tensor([0.5000, 0.9820])
    """
    return logits.softmax(-1).max(-1).values


@op
def top_margin(scores: Tensor) -> Tensor:
    """The largest score minus the second largest: [batch] of scores [batch, classes], 0 or above; 0 where two are as likely.

    >>> ops.top_margin(torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]]))
    tensor([0.5000, 0.0000])
    """
    first, second = scores.topk(2, dim=-1).values.unbind(-1)
    return first - second


@op
def contrastive_margin(
    probabilities: Tensor,
    previous: Tensor,
    free: Tensor,
    *,
    contrast: NonNegative = 0.03,
    class_weight: NonNegative = 0.1,
    confident: Count = 100,
) -> Tensor:
    """How little a label would tell, to query the smallest: the margin of predictions that are on the move (Lyu et al., 2024).

    ``probabilities`` and ``previous`` [rows, classes] are a model's predictions now and a round ago, ``free`` [rows] (bool) the rows
    without a label; the others get inf. ``m / max m + class_weight · w``: m the ``top_margin`` of ``p + contrast · (p - previous)``,
    not renormalised, and w how often the likeliest class is that of the ``confident`` free rows with the largest margins, over
    the most frequent one's count.

    >>> now = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    >>> ops.contrastive_margin(now, now, torch.tensor([True, True, True]), confident=1)  # the first class is well known
    tensor([1.1000, 0.3500, 0.2500])
    """
    margin = top_margin(probabilities + contrast * (probabilities - previous)).masked_fill(~free, -torch.inf)
    sure = margin.topk(min(confident, len(margin))).indices
    counts = probabilities.new_zeros(probabilities.shape[1])
    answer = probabilities.argmax(1)
    counts = counts.index_add(0, answer[sure], free[sure].to(counts.dtype))
    weight = counts / counts.amax().clamp_min(1)
    score = margin / margin.amax().clamp_min(torch.finfo(margin.dtype).tiny) + class_weight * weight[answer]
    return score.masked_fill(~free, torch.inf)


@op
def confidence_partition(*logits: Tensor) -> Tensor:
    """Which of several predictors is the surest of each sample: index [batch] (int64) (Roth et al., 2024, eq. 4).

    ``logits`` two or more of [batch, classes]. Confidence is the largest probability. The first wins ties: give the
    frozen student first.

    >>> first, second = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 3.0], [0.0, 0.5]])
    >>> ops.confidence_partition(first, second)
    tensor([1, 0])
    """
    return _first_largest(torch.stack(logits).softmax(-1).amax(-1))


@op
def supervised_confidence_partition(labels: Tensor, *logits: Tensor) -> Tensor:
    """Which of several predictors gives the true class the most: index [batch] (int64) (Roth et al., 2024).

    As ``confidence_partition``, with the probability of the true class as confidence; ``labels`` [batch] (int64),
    ``logits`` two or more of [batch, classes].

    >>> first, second = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 3.0], [0.0, 3.0]])
    >>> ops.supervised_confidence_partition(torch.tensor([0, 1]), first, second)
    tensor([0, 1])
    """
    probabilities = torch.stack(logits).softmax(-1)
    return _first_largest(probabilities.gather(-1, labels.expand(len(logits), -1).unsqueeze(-1)).squeeze(-1))


def _first_largest(confidence: Tensor) -> Tensor:
    """Position along axis 0 of the largest entry, the first of equals: ``argmax`` does not promise which."""
    reached = confidence == confidence.amax(0)
    first = reached & (reached.cumsum(0) == 1)
    return (first * torch.arange(len(confidence), device=confidence.device).unsqueeze(1)).sum(0)


@op
def class_adaptive_confidence_select(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    teacher_weight: Fraction,
    cutoff: Fraction = 0.95,
    at_random: bool = False,
    generator: torch.Generator,
) -> Tensor:
    """Rows whose prediction is surer than a bar that is lower for rarer pseudo-classes (Tang et al., 2023).

    Places [chosen] (int64, ascending). Logits [samples, classes] of a whole data set, mixed as ``a·teacher +
    (1-a)·student`` with ``teacher_weight`` a. With n_k samples of pseudo-class k and β_k = n_k / max n, its bar is
    ``cutoff · β_k / (2 - β_k)``. ``at_random`` returns as many rows drawn without replacement: the control. Raises
    ``ValueError`` if shapes differ.

    >>> logits, generator = torch.tensor([[4.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.Generator()
    >>> ops.class_adaptive_confidence_select(logits, logits, teacher_weight=0.5, generator=generator)  # class 1 is rare
    tensor([0, 2])
    """
    require_same_shape(student_logits, teacher_logits)
    mixed = teacher_weight * teacher_logits + (1 - teacher_weight) * student_logits
    confidence, pseudo_class = mixed.softmax(1).max(1)
    counts = indicator(pseudo_class, mixed.shape[1]).sum(0)
    commonness = counts / counts.max()
    bar = cutoff * commonness / (2 - commonness)
    chosen = (confidence > bar[pseudo_class]).nonzero().squeeze(1)
    if not at_random:
        return chosen
    order = torch.randperm(len(mixed), generator=generator, device=generator.device).to(mixed.device)
    return order[: len(chosen)].sort().values
