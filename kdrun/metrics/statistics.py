"""Plain statistics of a quantity over the rows of an evaluation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdrun.registry import metric

__all__ = [
    "backward_transfer",
    "forgetting",
    "forward_transfer",
    "group_means",
    "incremental_average",
    "maximum",
    "mean_value",
    "median",
    "minimum",
    "rank_correlation",
    "standard_deviation",
    "weighted_mean",
]


@metric
def mean_value(values: Tensor | list[Tensor]) -> float:
    """Mean over all elements of a tensor of any shape, or of several tensors together, in float64; NaN if there is none.

    >>> metrics.mean_value(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    3.0
    """
    return _elements(values).mean().item()


@metric
def weighted_mean(values: Tensor, weights: Tensor) -> float:
    """Mean ``Σ w x / Σ w`` of values with weights (not negative) of the same shape; NaN if all weights are 0.

    >>> metrics.weighted_mean(torch.tensor([1.0, 9.0]), torch.tensor([3.0, 1.0]))
    3.0
    """
    weights = weights.double()
    return ((values.double() * weights).sum() / weights.sum()).item()


@metric
def rank_correlation(first: Tensor, second: Tensor) -> dict[str, float]:
    """How alike two scores order the items: Kendall's τ, Spearman's ρ, and Pearson's r; each from -1 to 1.

    ``first`` and ``second`` [items]; NaN where one of them is constant, and for fewer than two items.

    >>> found = metrics.rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 4.0, 3.0]))
    >>> {name: round(value, 4) for name, value in found.items()}
    {'kendall': 0.3333, 'spearman': 0.5, 'pearson': 0.6547}
    """
    from scipy import stats

    if len(first) < 2:
        return dict.fromkeys(("kendall", "spearman", "pearson"), math.nan)
    a, b = first.double().numpy(), second.double().numpy()
    return {
        "kendall": float(stats.kendalltau(a, b).statistic),
        "spearman": float(stats.spearmanr(a, b).statistic),
        "pearson": float(stats.pearsonr(a, b).statistic),
    }


@metric
def median(values: Tensor) -> float:
    """Median over all elements (the mean of the two middle ones where their number is even); any shape, NaN if empty.

    >>> metrics.median(torch.tensor([1.0, 2.0, 4.0, 100.0]))
    3.0
    """
    ordered = values.double().flatten().sort().values  # quantile() takes no more than 2^24 values, and no empty tensor
    count = len(ordered)
    return ordered[(count - 1) // 2 : count // 2 + 1].mean().item() if not ordered.isnan().any() else math.nan


@metric
def minimum(values: Tensor) -> float:
    """The smallest element of a tensor of any shape; NaN if it is empty.

    >>> metrics.minimum(torch.tensor([[3.0, 1.0], [2.0, 4.0]]))
    1.0
    """
    return values.min().item() if values.numel() else math.nan


@metric
def maximum(values: Tensor | list[Tensor]) -> float:
    """The largest element, of one tensor of any shape or of several; NaN if there is none.

    >>> metrics.maximum([torch.tensor([3.0, 1.0]), torch.tensor(5.0)])
    5.0
    """
    every = _elements(values)
    return every.max().item() if len(every) else math.nan


def _elements(values: Tensor | list[Tensor]) -> Tensor:
    """All elements of one tensor or several, in a row and in float64."""
    given = [v.double().flatten() for v in (values if isinstance(values, list) else [values])]
    return torch.cat(given) if given else torch.empty(0, dtype=torch.float64)


@metric
def standard_deviation(values: Tensor) -> float:
    """Standard deviation over all elements, unbiased; 0 for a single one, NaN for none; any shape.

    >>> metrics.standard_deviation(torch.tensor([1.0, 3.0, 5.0]))
    2.0
    """
    if values.numel() < 2:
        return 0.0 if values.numel() else math.nan
    return values.double().std().item()


@metric
def group_means(values: Tensor, groups: Tensor) -> dict[str, float]:
    """Mean of ``values`` in each group, by the group's number as text.

    ``values`` [rows], ``groups`` [rows] (bool or int64).

    >>> metrics.group_means(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0, 1, 1]))
    {'0': 1.0, '1': 4.0}
    """
    keys = groups.long()
    return {str(int(key)): values[keys == key].double().mean().item() for key in torch.unique(keys)}


@metric
def backward_transfer(last: Tensor, learned: Tensor) -> float:
    """Mean change of the accuracy of all tasks but the last since each was learnt (Lopez-Paz & Ranzato, 2017).

    ``last`` and ``learned`` [tasks]: accuracies after the last task, and right after each task. Negative is forgetting.

    >>> metrics.backward_transfer(torch.tensor([0.5, 0.75, 1.0]), torch.tensor([0.75, 1.0, 1.0]))
    -0.25
    """
    return (last.double() - learned.double())[:-1].mean().item()


@metric
def forgetting(history: Tensor) -> float:
    """Mean loss of accuracy of all tasks but the last since each was known best (Chaudhry et al., 2018): positive is forgotten.

    ``history`` [tasks, tasks], or its rows one after the other: after each task k, the accuracy a_kj of each task j. With T tasks the
    mean over j < T of ``max_{k<T} a_kj - a_Tj``; NaN for a single task. Raises ``ValueError`` for another number of values.

    >>> metrics.forgetting(torch.tensor([[0.75, 0.0, 0.25], [0.5, 1.0, 0.0], [0.5, 0.75, 1.0]]))
    0.25
    """
    history = _square(history)
    if len(history) < 2:
        return math.nan
    return (history[:-1].max(0).values - history[-1])[:-1].mean().item()


def _square(history: Tensor) -> Tensor:
    """[tasks, tasks] in float64, of rows one after the other, too."""
    tasks = math.isqrt(history.numel())
    if tasks * tasks != history.numel():
        raise ValueError(f"expected a square of accuracies, got {history.numel()} of them")
    return history.double().view(tasks, tasks)


@metric
def incremental_average(history: Tensor) -> float:
    """Average incremental accuracy (Rebuffi et al., 2017): after each task the mean over all tasks so far, and the mean of these.

    ``history`` as for ``forgetting``; tasks have equally many rows, so that the mean over tasks so far is that over their rows.

    >>> metrics.incremental_average(torch.tensor([[1.0, 0.0], [0.5, 0.75]]))
    0.8125
    """
    history = _square(history)
    counts = torch.arange(1.0, len(history) + 1, dtype=torch.float64)
    return (history.tril().sum(1) / counts).mean().item()


@metric
def forward_transfer(before: Tensor) -> float:
    """Mean accuracy on each task but the first right before it is learnt (Lopez-Paz & Ranzato, 2017, without the part of chance).

    ``before`` [tasks]; NaN for a single task.

    >>> metrics.forward_transfer(torch.tensor([0.25, 0.5, 0.75]))
    0.625
    """
    return before.double()[1:].mean().item()
