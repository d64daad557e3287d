"""Nearest neighbours, and losses on how samples or tokens relate to them. No function detaches its inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_batch
from kdrun.ops.similarity import cosine_similarity_matrix
from kdrun.registry import op
from kdrun.types import Count, Positive

__all__ = ["inner_relation_kl", "knn_indices", "knn_predict", "neighbourhood_kl", "prediction_dispersion"]


@op
def knn_indices(similarity: Tensor, *, k: Count, exclude_self: bool = True) -> Tensor:
    """The ``k`` largest entries of each row of a similarity matrix [n, m]: indices [n, k] (int64), largest first.

    ``exclude_self`` leaves the diagonal out. Raises ``ValueError`` if a row has fewer than ``k`` entries.

    >>> ops.knn_indices(torch.tensor([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]]), k=1)
    tensor([[1],
            [0],
            [1]])
    """
    available = similarity.shape[-1] - int(exclude_self)
    if k > available:
        raise ValueError(f"k = {k}, but each row has {available} neighbours")
    if exclude_self:
        similarity = similarity.detach().clone()
        similarity.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    return similarity.topk(k, dim=-1).indices


@op
def knn_predict(train: Tensor, labels: Tensor, test: Tensor, *, k: Count = 10, num_classes: Count) -> Tensor:
    """The label that most of the ``k`` nearest rows of ``train`` have, for each row of ``test``: [m] (int64).

    ``train`` [n, features] with ``labels`` [n] (int64, below ``num_classes``), ``test`` [m, features]; Euclidean distances, each
    neighbour one vote, a tied vote goes to the smallest label. Raises ``ValueError`` if there are fewer than ``k`` rows.

    >>> train, labels = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([2, 2, 0, 1])
    >>> ops.knn_predict(train, labels, torch.tensor([[0.2], [5.4]]), k=2, num_classes=3)
    tensor([2, 0])
    """
    require_same_batch(train, labels, "rows and labels")
    if k > len(train):
        raise ValueError(f"k = {k}, but there are {len(train)} rows")
    nearest = torch.cdist(test, train).topk(k, dim=1, largest=False).indices
    votes = torch.nn.functional.one_hot(labels[nearest], num_classes).sum(1)
    return (votes * num_classes - torch.arange(num_classes, device=votes.device)).argmax(1)  # no two are equal


@op
def neighbourhood_kl(
    student_similarity: Tensor, teacher_similarity: Tensor, neighbours: Tensor, *, temperature: Positive = 0.1
) -> Tensor:
    """Mean KL(teacher ‖ student) of the softmax over each node's neighbours (local structure: Yang et al., 2020, eq. 4).

    Similarities [n, m], ``neighbours`` [n, k] (int64), the same for both nets: the teacher's, as ``knn_indices`` gives
    them. Raises ``ValueError`` if the numbers of nodes differ.

    >>> teacher = torch.tensor([[1.0, 0.2, 0.1], [0.2, 1.0, 0.6], [0.1, 0.6, 1.0]])
    >>> neighbours = ops.knn_indices(teacher, k=2)
    >>> ops.neighbourhood_kl(teacher, teacher, neighbours)
    tensor(0.)
    >>> ops.neighbourhood_kl(torch.ones(3, 3), teacher, neighbours)
    tensor(0.4557)
    """
    require_same_batch(student_similarity, teacher_similarity)
    student = (student_similarity.gather(1, neighbours) / temperature).log_softmax(1)
    teacher = (teacher_similarity.gather(1, neighbours) / temperature).log_softmax(1)
    return (teacher.exp() * (teacher - student)).sum(1).mean()


@op
def prediction_dispersion(probabilities: Tensor, *, square: bool = False) -> Tensor:
    """Predictions of a batch pushed apart: the mean over rows of ``Σ_{j≠i} p_i · p_j`` (Yang et al., 2022); 0 or above.

    With ``square`` each dot product is squared, the push of the spectral contrastive loss (HaoChen et al., 2021). ``probabilities``
    [batch, classes]; the gradient flows into both rows of a pair. The sum over the other rows is not divided by their number.

    >>> p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> ops.prediction_dispersion(p), ops.prediction_dispersion(p, square=True)
    (tensor(0.5000), tensor(0.2500))
    """
    alike = probabilities @ probabilities.T
    alike = alike.square() if square else alike
    return (alike.sum() - alike.diagonal().sum()) / len(probabilities)


@op
def inner_relation_kl(student: Tensor, teacher: Tensor, *, temperature: Positive = 0.1) -> Tensor:
    """Mean KL(teacher ‖ student) of each token's relations to the other tokens of its own sample (Zhang et al., 2023).

    Tokens [batch, tokens, dim], widths may differ. Relations are the softmax of cosines over the other tokens, divided
    by ``temperature``. Raises ``ValueError`` for fewer than two tokens or different numbers of them.

    >>> teacher = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> ops.inner_relation_kl(9 * teacher, teacher)
    tensor(0.)
    >>> ops.inner_relation_kl(torch.ones(1, 3, 5), teacher)  # all tokens alike
    tensor(0.4618)
    """
    if student.shape[:2] != teacher.shape[:2] or student.shape[1] < 2:
        raise ValueError(
            f"expected two or more tokens in the same number, got {list(student.shape)} and {list(teacher.shape)}"
        )
    itself = torch.eye(student.shape[1], dtype=torch.bool, device=student.device)
    log_student, log_teacher = (_log_relations(tokens, itself, temperature) for tokens in (student, teacher))
    return (log_teacher.exp() * (log_teacher - log_student)).sum(2).mean()


def _log_relations(tokens: Tensor, itself: Tensor, temperature: float) -> Tensor:
    cosines = cosine_similarity_matrix(tokens, tokens) / temperature
    # A finite floor, not -inf: the masked entries then contribute exp(-large)·0 and no NaN.
    return cosines.masked_fill(itself, -1e4).log_softmax(2)
