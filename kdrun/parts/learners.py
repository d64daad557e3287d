"""What cheap learners say of mixtures of data sources."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import solve

__all__ = ["mixture_accuracy"]


def _estimator(learner: str, options: dict[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.neighbors import NearestCentroid
    from sklearn.neural_network import MLPClassifier

    known: dict[str, Any] = {
        "logistic_regression": LogisticRegression,
        "ridge": RidgeClassifier,
        "nearest_mean": NearestCentroid,
        "mlp": MLPClassifier,
    }
    try:
        return known[learner](**options)
    except TypeError as error:
        raise InputError(f"learner '{learner}': {error}") from None


@solve(scored=("targets",))
def mixture_accuracy(
    rows: Tensor,
    data: Dataset,
    *targets: Dataset,
    learner: Literal["logistic_regression", "ridge", "nearest_mean", "mlp"] = "logistic_regression",
    options: dict[str, Any] | None = None,
    column: str = "image",
    generator: torch.Generator,
) -> Tensor:
    """Accuracy on ``targets`` of a cheap learner (scikit-learn) fitted to each mixture: medians over repeats, in [0, 1].

    [cells], or [targets, cells] for several (float32). ``rows`` [repeats, cells, size] are row numbers of ``data``, as
    ``mixture_rows`` draws them; the learner sees the flattened ``column`` and ``label``, and ``options`` are its own. A mixture of
    one class predicts that class. Raises ``InputError`` without a target, or for an option that the learner does not have.

    >>> columns = {"image": torch.tensor([[-1.0], [1.0]]), "label": torch.tensor([0, 1])}
    >>> pool = data.MemoryDataset(columns, data.DataInfo({}))
    >>> rows = torch.tensor([[[0, 0], [0, 1]]])  # a mixture of one class, one of both
    >>> parts.mixture_accuracy(rows, pool, pool, learner="nearest_mean", generator=torch.Generator())
    tensor([0.5000, 1.0000])
    """
    if not targets:
        raise InputError("a learner is judged on a target data set: from: [rows, pool, target]")
    pool, own = data.rows(), dict(options or {})
    inputs, labels = pool[column].flatten(1).double().numpy(), pool["label"].numpy()
    held = [(r[column].flatten(1).double().numpy(), r["label"].numpy()) for r in (t.rows() for t in targets)]
    if learner == "mlp":
        own.setdefault("random_state", int(torch.randint(1 << 31, (), generator=generator)))
    scores = torch.empty(len(targets), *rows.shape[:2])
    for repeat, cells in enumerate(rows):
        for cell, chosen in enumerate(cells.numpy()):
            predict = _fitted(learner, own, inputs[chosen], labels[chosen])
            for i, (test, answers) in enumerate(held):
                scores[i, repeat, cell] = float((predict(test) == answers).mean())
    medians = scores.quantile(0.5, dim=1)
    return medians if len(targets) > 1 else medians[0]


def _fitted(learner: str, options: dict[str, Any], inputs: Any, labels: Any) -> Callable[[Any], Any]:
    """The prediction of a learner fitted to these rows."""
    if (labels == labels[0]).all():
        return lambda test: labels[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cheap learner may stop before it has converged
        return _estimator(learner, options).fit(inputs, labels).predict
