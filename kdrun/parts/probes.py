"""What vectors that were made for something else are good for: classes by a linear probe, answers to queries."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.metrics.ranks import ndcg_by_row
from kdrun.registry import shape_of, solve
from kdrun.types import Count, Positive

__all__ = ["interpolation_weight", "logistic_probe"]


@solve(fields=("weight", "bias"), random=False)
def logistic_probe(
    vectors: Tensor,
    train: Dataset,
    valid: Dataset,
    *,
    rows: str = "entity",
    costs: list[Positive] = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0),  # type: ignore[assignment]
) -> dict[str, Tensor]:
    """Multinomial logistic regression on frozen vectors: logits are ``x @ weight + bias``, [dim, classes] and [classes] (float32).

    ``vectors`` [count, dim]; the column ``rows`` (int64) of ``train`` and ``valid`` says which of them a label is of. Fitted to ``train``
    with each of ``costs`` C, a penalty of ``|weight|² / 2C`` beside the summed loss; that with the best accuracy on ``valid``, of equal ones
    the first, is fitted once more to both (Daza et al., 2021). Raises ``InputError`` where ``train`` has one class alone.

    >>> rows = data.MemoryDataset({"entity": torch.arange(4), "label": torch.tensor([0, 0, 1, 1])}, data.DataInfo({}, 2))
    >>> found = parts.logistic_probe(torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), rows, rows)
    >>> (torch.tensor([[-1.5], [1.5]]) @ found["weight"] + found["bias"]).argmax(1)
    tensor([0, 1])
    """
    inputs, labels = _pairs(vectors, train, rows)
    held, answers = _pairs(vectors, valid, rows)
    classes = train.info.classes or int(torch.cat([labels, answers]).max()) + 1
    if len(labels.unique()) < 2:
        raise InputError("a probe is fitted to two classes or more")
    right = []
    for cost in costs:
        found = _fitted(inputs, labels, cost, classes)
        right.append(int(((held @ found["weight"] + found["bias"]).argmax(1) == answers).sum()))
    best = costs[right.index(max(right))]
    return _fitted(torch.cat([inputs, held]), torch.cat([labels, answers]), best, classes)


def _pairs(vectors: Tensor, data: Dataset, rows: str) -> tuple[Tensor, Tensor]:
    found = data.rows()
    return vectors[found[rows].to(vectors.device)].float().cpu(), found["label"]


def _fitted(inputs: Tensor, labels: Tensor, cost: float, classes: int) -> dict[str, Tensor]:
    """Weights and biases of all classes; one that has no row is never the likeliest."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=cost, max_iter=2000).fit(inputs.double().numpy(), labels.numpy())
    weight, bias = torch.zeros(inputs.shape[1], classes), torch.full((classes,), -1e4)
    own, constant = torch.from_numpy(model.coef_).float().T, torch.from_numpy(model.intercept_).float()
    if own.shape[1] == 1:  # two classes are one logit
        own, constant = torch.cat([-own, own], 1) / 2, torch.cat([-constant, constant]) / 2
    weight[:, model.classes_], bias[model.classes_] = own, constant
    return {"weight": weight, "bias": bias}


@shape_of("solve", "logistic_probe")
def logistic_probe_shape(vectors: Tensor, train: Dataset, valid: Dataset, **options: object) -> dict[str, Tensor]:
    """One column a class."""
    classes = train.info.classes or 1
    return {"weight": torch.zeros(vectors.shape[1], classes), "bias": torch.zeros(classes)}


@solve
def interpolation_weight(
    first: Tensor,
    second: Tensor,
    relevance: Tensor,
    *,
    folds: Count = 5,
    grid: Count = 20,
    at: Count = 100,
    generator: torch.Generator,
) -> Tensor:
    """For each query the share α of ``first`` in ``α · first + (1 - α) · second`` that ranks best for the other queries: [queries] (float32).

    Scores and ``relevance`` are [queries, items]. Queries are dealt out to ``folds`` at random; of ``grid`` equal steps from 0 to 1, a fold
    takes the α with the highest mean ``ndcg`` at rank ``at`` over the queries of all other folds, of equal ones the smallest. Raises
    ``InputError`` for fewer than two folds, or fewer queries than folds.

    >>> good, bad = torch.tensor([[1.0, 0.0]]).expand(6, 2), torch.tensor([[0.0, 9.0]]).expand(6, 2)
    >>> parts.interpolation_weight(bad, good, good, folds=2, generator=torch.Generator())
    tensor([0., 0., 0., 0., 0., 0.])
    """
    if folds < 2 or len(first) < folds:
        raise InputError(f"{len(first)} queries cannot be dealt out to {folds} folds of two or more")
    shares = torch.linspace(0, 1, grid, device=first.device)
    gains = torch.stack([ndcg_by_row(a * first + (1 - a) * second, relevance, at=at) for a in shares])
    fold = torch.randperm(len(first), generator=generator).to(first.device) % folds
    chosen = torch.zeros(len(first), device=first.device)
    for one in range(folds):
        chosen[fold == one] = shares[gains[:, fold != one].mean(1).argmax()]
    return chosen


@shape_of("solve", "interpolation_weight")
def interpolation_weight_shape(first: Tensor, second: Tensor, relevance: Tensor, **options: object) -> Tensor:
    """One share a query."""
    return torch.zeros(len(first))
