"""What a sample should count or how soft its targets should be, from how student and teacher stand to it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_shape
from kdrun.ops.indexing import indicator
from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["disagreement_weights", "loss_ratio", "token_temperature", "trilateral_relation_features"]


@op
def disagreement_weights(student_logits: Tensor, teacher_logits: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``sigmoid(‖z_s - z_t + eps‖₂)`` of each row, in [0.5, 1) (Tang et al., 2023): [batch], without a gradient.

    Logits of one shape [batch, classes]: rows on which student and teacher disagree count more. Raises ``ValueError``
    if shapes differ.

    >>> student, teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-2.0, 4.0]])
    >>> ops.disagreement_weights(student, teacher)
    tensor([0.5000, 0.9933])
    """
    require_same_shape(student_logits, teacher_logits)
    return (student_logits - teacher_logits + eps).norm(dim=1).sigmoid().detach()


@op
def loss_ratio(student_loss: Tensor, teacher_loss: Tensor) -> Tensor:
    """How far the student is behind: ``1 - exp(-student / teacher)`` of losses, in [0, 1].

    ``student_loss`` and ``teacher_loss`` [batch], or of any one shape, not negative (Lu et al., 2021).

    >>> ops.loss_ratio(torch.tensor([0.0, 1.0, 8.0]), torch.tensor([1.0, 1.0, 1.0]))
    tensor([0.0000, 0.6321, 0.9997])
    """
    return 1 - (-student_loss / teacher_loss.clamp_min(1e-12)).exp()


@op
def token_temperature(score: Tensor, *, lowest: Positive = 1.0, highest: Positive = 10.0) -> Tensor:
    """A temperature from ``lowest`` at score 0 to ``highest`` at score 1, linear between; any shape, scores in [0, 1].

    >>> ops.token_temperature(torch.tensor([0.0, 0.5, 1.0]))
    tensor([ 1.0000,  5.5000, 10.0000])
    """
    return lowest + (highest - lowest) * score


@op
def trilateral_relation_features(
    student_probs: Tensor,
    teacher_probs: Tensor,
    labels: Tensor,
    class_means: Tensor | None = None,
    *,
    terms: Literal["all", "vertices", "edges"] = "all",
    inter_sample: bool = True,
) -> Tensor:
    """Where student, teacher, label and class mean lie to each other (Hu et al., 2024, eqs. 3-5): [batch, 9·classes].

    S and T are the predictions of student and teacher, G is the label, M the class's mean teacher prediction.
    ``student_probs`` and ``teacher_probs`` [batch, classes]; ``labels`` [batch] (int64) or one-hot [batch, classes];
    ``class_means`` [classes, classes], taken over this batch if absent. Columns are vertices S, T, G, M and squared
    edges M-S, G-S, T-S, T-G, M-G; without ``inter_sample``, the terms with M are dropped, and ``terms`` may leave
    vertices or edges alone. Raises ``ValueError`` if shapes differ.

    >>> student, teacher = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.8, 0.2]])
    >>> ops.trilateral_relation_features(student, teacher, torch.tensor([0]), terms="vertices", inter_sample=False)
    tensor([[0.5000, 0.5000, 0.8000, 0.2000, 1.0000, 0.0000]])
    >>> ops.trilateral_relation_features(student, teacher, torch.tensor([0])).shape
    torch.Size([1, 18])
    """
    student, teacher = student_probs, teacher_probs
    require_same_shape(student, teacher)
    onehot = indicator(labels, student.shape[1]).to(student.dtype) if labels.dim() == 1 else labels.to(student.dtype)
    if class_means is None:
        class_means = onehot.T @ teacher / onehot.sum(0).clamp_min(1).unsqueeze(1)
    means = onehot @ class_means.to(student.dtype)
    vertices = [student, teacher, onehot, means] if inter_sample else [student, teacher, onehot]
    inner = [(onehot - student).square(), (teacher - student).square(), (teacher - onehot).square()]
    edges = [(means - student).square(), *inner, (means - onehot).square()] if inter_sample else inner
    return torch.cat({"all": [*vertices, *edges], "vertices": vertices, "edges": edges}[terms], dim=1)
