"""Confidence of predictions, and choices by it: which predictor, which rows."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_shape
from kdrun.ops.indexing import indicator
from kdrun.registry import op
from kdrun.types import Fraction

__all__ = [
    "class_adaptive_confidence_select",
    "confidence_partition",
    "max_probability",
    "supervised_confidence_partition",
]


@op
def max_probability(logits: Tensor) -> Tensor:
    """The confidence of each prediction: the largest probability, [batch] of logits [batch, classes]."""
    return logits.softmax(-1).max(-1).values


@op
def confidence_partition(*logits: Tensor) -> Tensor:
    """Which of several predictors is the surest of each sample: index [batch] (int64) (Roth et al., 2024, eq. 4).

    ``logits`` two or more of [batch, classes]. The first wins ties: give the frozen student first. Confidence is
    the largest probability.
    """
    return _first_largest(torch.stack(logits).softmax(-1).amax(-1))


@op
def supervised_confidence_partition(labels: Tensor, *logits: Tensor) -> Tensor:
    """As ``confidence_partition``, with the probability of the true class as confidence; ``labels`` [batch] (int64)."""
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
    """Rows [chosen] (int64) whose mixed prediction is surer than a bar that is lower for rarer pseudo-classes (Tang et al., 2023).

    Logits [samples, classes] of a whole data set, mixed as ``a·teacher + (1-a)·student`` with a ``teacher_weight``.
    With n_k samples of pseudo-class k and β_k = n_k / max n, its bar is ``cutoff · β_k / (2 - β_k)``. ``at_random``
    returns as many rows drawn without replacement: the control.
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
