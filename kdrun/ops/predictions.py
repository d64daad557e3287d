"""Entropies of predictions, and losses on how predictions relate across classes and samples.

No function detaches its inputs unless its text says so.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_maps, require_rows, require_same_batch, require_same_shape
from kdrun.ops.divergences import reduce_rows
from kdrun.ops.tensors import indicator
from kdrun.registry import op
from kdrun.types import Fraction, NonNegative, Positive

__all__ = [
    "channel_correlation_loss",
    "class_adaptive_confidence_select",
    "classifier_gradient",
    "confidence_partition",
    "direction_covariance_loss",
    "gather_source",
    "information_maximization",
    "is_correct",
    "loss_ratio",
    "max_probability",
    "pearson_relation_loss",
    "prediction_entropy",
    "probability_mse",
    "spatial_correlation_loss",
    "supervised_confidence_partition",
    "teacher_margin",
    "token_temperature",
    "trilateral_relation_features",
]


def _entropy(probabilities: Tensor, eps: float) -> Tensor:
    inside = probabilities + eps if eps else probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny)
    return -(probabilities * inside.log()).sum(-1)


@op
def prediction_entropy(
    logits: Tensor,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    eps: NonNegative = 0.0,
    given: Literal["logits", "probabilities"] = "logits",
    reduction: Literal["mean", "batch_mean", "sum", "none"] = "mean",
) -> Tensor:
    """Entropy of predictions in nats; ``logits`` [batch, ..., classes], ``mask`` [batch, ...] (bool).

    ``-Σ p log(p + eps)``; ``given`` says whether the input holds logits or probabilities.
    """
    probabilities = (logits / temperature).softmax(-1) if given == "logits" else logits
    return reduce_rows(_entropy(probabilities, eps), reduction, mask=mask)


@op
def information_maximization(
    logits: Tensor,
    *,
    entropy_weight: NonNegative = 1.0,
    diversity_weight: NonNegative = 1.0,
    temperature: Positive = 1.0,
    eps: NonNegative = 0.0,
    given: Literal["logits", "probabilities"] = "logits",
) -> Tensor:
    """Mean entropy minus entropy of the mean (Krause et al., 2010; Liang et al., 2020): minimal when predictions are sure and varied.

    ``logits`` [batch, ..., classes]; all axes but the last are averaged over. At least ``-ln classes`` with unit
    weights. ``eps`` is added inside the logarithms.
    """
    probabilities = (logits / temperature).softmax(-1) if given == "logits" else logits
    flat = probabilities.reshape(-1, probabilities.shape[-1])
    return entropy_weight * _entropy(flat, eps).mean() - diversity_weight * _entropy(flat.mean(0), eps)


@op
def probability_mse(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared error of probabilities [batch, ..., classes], summed over classes, averaged over the rows that ``mask`` keeps."""
    require_same_shape(first, second, "the two predictions")
    return reduce_rows((first - second).square().sum(-1), "mean", mask=mask)


@op
def pearson_relation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    beta: NonNegative = 2.0,
    gamma: NonNegative = 2.0,
    temperature: Positive = 1.0,
) -> Tensor:
    """``T²·(β·inter + γ·intra)``: one minus the mean Pearson correlation over rows, and over columns (Huang et al., 2022).

    Logits [batch, classes] of softmax(z/T); no cross-entropy inside. A constant row or column correlates 0.
    """
    require_same_shape(student_logits, teacher_logits)
    student, teacher = (student_logits / temperature).softmax(1), (teacher_logits / temperature).softmax(1)
    inter = 1 - _pearson(student, teacher, 1).mean()
    intra = 1 - _pearson(student, teacher, 0).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def _pearson(first: Tensor, second: Tensor, dim: int) -> Tensor:
    first, second = (value - value.mean(dim, keepdim=True) for value in (first, second))
    return (F.normalize(first, dim=dim) * F.normalize(second, dim=dim)).sum(dim)


@op
def channel_correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the mean Pearson correlation over channels at each pixel; maps of one shape [batch, channels, h, w]."""
    require_same_shape(student, teacher)
    require_maps(student)
    return 1 - _pearson(student, teacher, 1).mean()


@op
def spatial_correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the mean Pearson correlation of channel-summed maps over pixels.

    Maps [batch, channels, h, w] of one size; channels may differ.
    """
    require_maps(student, teacher)
    return 1 - _pearson(student.sum(1).flatten(1), teacher.sum(1).flatten(1), 1).mean()


@op
def direction_covariance_loss(student_logits: Tensor, teacher_logits: Tensor, *, ridge: Positive = 0.1) -> Tensor:
    """Mahalanobis length of the difference of cosine Gram matrices, averaged over the batch.

    Logits [batch, classes], two rows or more; classes may differ. With rows L2-normalised, ``D = S Sᵀ - T Tᵀ``
    [batch, batch] and ``Σ = Cov(D) + ridge·I`` over the rows of D (columns are variables, unbiased), the result is
    the mean over rows of ``sqrt(d Σ⁻¹ dᵀ)``, solved by Cholesky in at least single precision.
    """
    require_rows(student_logits, teacher_logits)
    require_same_batch(student_logits, teacher_logits)
    precision = torch.promote_types(student_logits.dtype, torch.float32)
    with torch.autocast(student_logits.device.type, enabled=False):
        student, teacher = (F.normalize(z.to(precision), dim=1) for z in (student_logits, teacher_logits))
        difference = student @ student.T - teacher @ teacher.T
        centred = difference - difference.mean(0)
        covariance = centred.T @ centred / (len(difference) - 1)
        identity = torch.eye(len(difference), dtype=precision, device=difference.device)
        factor = torch.linalg.cholesky(covariance + ridge * identity)
        whitened = torch.linalg.solve_triangular(factor, difference.T, upper=False)
        return whitened.norm(dim=0).mean()


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
def gather_source(index: Tensor, *logits: Tensor) -> Tensor:
    """Each sample's row of the predictor that ``index`` [batch] (int64) names: [batch, classes] of several of that shape."""
    return torch.stack(logits)[index, torch.arange(len(index), device=index.device)]


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


@op
def max_probability(logits: Tensor) -> Tensor:
    """The confidence of each prediction: the largest probability, [batch] of logits [batch, classes]."""
    return logits.softmax(-1).max(-1).values


@op
def loss_ratio(student_loss: Tensor, teacher_loss: Tensor) -> Tensor:
    """``1 - exp(-student/teacher)`` of losses [batch], in [0, 1]: near 1 where the student is far behind (Lu et al., 2021)."""
    return 1 - (-student_loss / teacher_loss.clamp_min(1e-12)).exp()


@op
def teacher_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """True-class probability minus the mean of the others', not below 0: [batch] of logits [batch, classes], labels [batch]."""
    true = logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return (true - (1 - true) / (logits.shape[1] - 1)).clamp_min(0)


@op
def token_temperature(score: Tensor, *, lowest: Positive = 1.0, highest: Positive = 10.0) -> Tensor:
    """A temperature from ``lowest`` at score 0 to ``highest`` at score 1, linear between; any shape, scores in [0, 1]."""
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
    """Where student S, teacher T, label G and the class's mean teacher prediction M lie to each other (Hu et al., 2024, eqs. 3-5).

    ``student_probs`` and ``teacher_probs`` [batch, classes]; ``labels`` [batch] (int64) or one-hot [batch,
    classes]; ``class_means`` [classes, classes], taken over this batch if absent. Columns are vertices S, T, G, M and
    squared edges M-S, G-S, T-S, T-G, M-G: [batch, 9·classes]; without ``inter_sample``, the terms with M are dropped.
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


@op
def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the most likely class is the label: bool [batch] of logits [batch, classes] and labels [batch]."""
    return logits.argmax(1) == labels


@op
def classifier_gradient(logits: Tensor, labels: Tensor, feature: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to the weight of a linear head: [classes, features].

    ``(softmax(logits) - onehot)ᵀ feature / batch`` of logits [batch, classes], labels [batch], and what the head reads
    [batch, features]: the weights of a class activation map (Dong, Li & Wei, 2023).
    """
    error = logits.softmax(-1) - indicator(labels, logits.shape[-1]).to(logits.dtype)
    return error.T @ feature / len(logits)
