"""How much a model has forgotten, and what it is still good for."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kdrun.registry import metric
from kdrun.types import Count

__all__ = [
    "answer_probability",
    "ks_forget_quality",
    "membership_attack_rate",
    "membership_auroc",
    "model_utility",
    "valid_mass",
]


@metric
def answer_probability(likelihood: Tensor) -> float:
    """Mean over rows of the probability of the answer; from 0 to 1.

    ``likelihood`` [rows], mean log-likelihoods of a token in nats: a probability by token, not of the whole answer.

    >>> round(metrics.answer_probability(torch.tensor([0.5, 0.25]).log()), 4)
    0.375
    """
    return likelihood.double().exp().mean().item()


@metric
def valid_mass(logits: Tensor, choices: Tensor) -> float:
    """Mean probability that falls on the answers that would make sense; from 0 to 1.

    ``logits`` [rows, classes] and ``choices`` [rows, answers] (int64), different classes in each row.

    >>> metrics.valid_mass(torch.zeros(1, 4), torch.tensor([[0, 2]]))
    0.5
    """
    return logits.double().softmax(1).gather(1, choices).sum(1).mean().item()


@metric
def ks_forget_quality(values: Tensor, reference: Tensor) -> float:
    """p-value of a two-sample Kolmogorov-Smirnov test: whether a model that forgot and one that never knew differ.

    ``values`` and ``reference`` [rows], truth ratios of both on what is to be forgotten (Maini et al., 2024). 1 where
    they agree; any monotone function of the ratio gives the same. NaN if one of them is empty.

    >>> ratios = torch.linspace(0.1, 1.0, 10)
    >>> metrics.ks_forget_quality(ratios, ratios), metrics.ks_forget_quality(ratios, ratios + 1) < 0.001
    (1.0, True)
    """
    from scipy.stats import ks_2samp

    if not len(values) or not len(reference):
        return math.nan
    return float(ks_2samp(values.double().numpy(), reference.double().numpy()).pvalue)


@metric
def model_utility(probability: Tensor, recall: Tensor, ratio: Tensor, part: Tensor) -> float:
    """What a model still knows of what it should, from 0 to 1 (Maini et al., 2024).

    The harmonic mean of three measures' means over each data set. [rows] each: the answer's ``probability``, its
    ``recall``, the truth ``ratio`` (which counts as ``max(0, 1 - ratio)``), and the data set to which the row belongs,
    ``part`` (int64). 0 as soon as one of the means is 0.

    >>> half, part = torch.tensor([0.5, 0.5]), torch.tensor([0, 1])
    >>> metrics.model_utility(half, half, half, part), metrics.model_utility(half, torch.tensor([0.5, 0.0]), half, part)
    (0.5, 0.0)
    """
    rows = torch.stack([probability.double(), recall.double(), (1 - ratio.double()).clamp_min(0)], 1)
    means = torch.cat([rows[part == number].mean(0) for number in part.unique()])
    return (len(means) / means.reciprocal().sum()).item()


@metric
def membership_auroc(members: Tensor, strangers: Tensor) -> float:
    """How well a score tells rows that were trained on from rows that were not: the area under the ROC curve; 0.5 is chance.

    ``members`` [rows] and ``strangers`` [others], such as log-likelihoods: the share of pairs in which the member has more, ties counting
    half. Far below 0.5 an attacker tells them apart as well, by the opposite. NaN if one of them is empty.

    >>> metrics.membership_auroc(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    apart = members.double()[:, None] - strangers.double()[None, :]
    return ((apart > 0).double() + 0.5 * (apart == 0)).mean().item()


@metric
def membership_attack_rate(members: Tensor, strangers: Tensor, forgotten: Tensor, *, trees: Count = 100) -> float:
    """How often an attacker tells rows that a model was to forget from rows that it never saw, by its probabilities (Shen et al., 2024).

    Boosted trees learn from sorted probabilities: ``members`` [rows, classes], which the model trains on, are 1, the first half of
    the ``strangers`` [rows, classes], which it never saw, 0, as many of each as there are of the fewer. Their accuracy is then taken on
    ``forgotten`` [rows, classes], as 1, and the second half of the strangers, as 0, again as many of each. Rows are the first ones of each. 0.5:
    nothing can be told, as from a model that never saw the forgotten rows, if these are such rows as others. Raises ``ValueError`` for fewer
    than two strangers, or no row of another kind.

    >>> sure, unsure = torch.tensor([[0.99, 0.01]]).repeat(40, 1), torch.tensor([[0.6, 0.4]]).repeat(40, 1)
    >>> metrics.membership_attack_rate(sure, unsure, sure), metrics.membership_attack_rate(sure, unsure, unsure)
    (1.0, 0.5)
    """
    from sklearn.ensemble import GradientBoostingClassifier

    if len(strangers) < 2 or not len(members) or not len(forgotten):
        raise ValueError("an attack needs two strangers, a member and a forgotten row at least")
    half = len(strangers) // 2
    learnt = _balanced(members, strangers[:half])
    asked = _balanced(forgotten, strangers[half:])
    attacker = GradientBoostingClassifier(n_estimators=trees, random_state=0).fit(*learnt)
    return float(attacker.score(*asked))


def _balanced(ones: Tensor, zeros: Tensor) -> tuple[Any, Any]:
    """As many rows of each, sorted, and what they are."""
    count = min(len(ones), len(zeros))
    rows = torch.cat([ones[:count], zeros[:count]]).double().sort(1, descending=True).values
    return rows.numpy(), torch.tensor([1, 0]).repeat_interleave(count).numpy()
