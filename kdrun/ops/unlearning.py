"""Losses that make a model forget; each falls as the model forgets."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Positive

__all__ = [
    "bounded_exponential_error",
    "inverted_hinge",
    "negative_preference_loss",
    "representation_alignment_loss",
]


@op
def inverted_hinge(
    logits: Tensor,
    labels: Tensor,
    *,
    reduction: Literal["mean", "batch_mean", "sum", "none"] = "mean",
    ignore_index: int = -100,
) -> Tensor:
    """``max(0, 1 + p(label) - p(runner-up))``, the runner-up being the likeliest other class (Cha et al., 2025, IHL).

    ``logits`` [batch, ..., classes], ``labels`` [batch, ...] (int64; those of ``ignore_index`` do not count). From 0,
    where the runner-up has all the mass, to 2. The gradient of the logit of another class ``k`` is ``p_k (p_runner-up -
    p_label)``. The mean over labels that count by default; ``none`` keeps them.

    >>> logits = torch.tensor([[99.0, 0.0], [0.0, 99.0], [0.0, 0.0]])
    >>> ops.inverted_hinge(logits, torch.tensor([0, 0, 0]), reduction="none")  # known, forgotten, undecided
    tensor([2., 0., 1.])
    """
    counted = labels != ignore_index
    chosen = labels.where(counted, 0).unsqueeze(-1)
    probabilities = logits.softmax(-1)
    own = probabilities.gather(-1, chosen).squeeze(-1)
    runner_up = probabilities.scatter(-1, chosen, -1.0).amax(-1)
    return reduce_rows((1 + own - runner_up).clamp_min(0), reduction, mask=counted)


@op
def negative_preference_loss(likelihood: Tensor, reference: Tensor, *, beta: Positive = 0.1) -> Tensor:
    """``-2/β · mean log σ(-β (l - l_ref))`` of log-likelihoods of what is to be forgotten (Zhang et al., 2024, NPO).

    ``likelihood`` l and ``reference`` l_ref [batch], in nats, summed over tokens. Bounded below by 0; where both agree
    its gradient is that of the mean likelihood. Raises ``ValueError`` if shapes differ.

    >>> reference = torch.tensor([-5.0])
    >>> ops.negative_preference_loss(torch.tensor([-5.0]), reference, beta=1.0)  # 2 ln 2 before anything is forgotten
    tensor(1.3863)
    >>> ops.negative_preference_loss(torch.tensor([-9.0]), reference, beta=1.0)
    tensor(0.0363)
    """
    require_same_shape(likelihood, reference, "the likelihoods")
    return 2 / beta * F.softplus(beta * (likelihood - reference)).mean()


@op
def bounded_exponential_error(reconstruction: Tensor, target: Tensor) -> Tensor:
    """``Σ_i exp(m_i / (m_i + 1))``, m_i the squared error of row i summed over features: a scalar (Shen et al., 2024, eq. 6).

    ``reconstruction`` and ``target`` [batch, features] of one shape. A row counts from 1, where it is reconstructed, to e; its
    gradient fades for rows that are far off. Summed over the batch. Raises ``ValueError`` if shapes differ.

    >>> ops.bounded_exponential_error(torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
    tensor(2.6487)
    """
    require_same_shape(reconstruction, target, "reconstruction and target")
    squares = (reconstruction - target).square().flatten(1).sum(1)
    return (squares / (squares + 1)).exp().sum()


@op
def representation_alignment_loss(
    kept: Tensor, kept_before: Tensor, forgotten: Tensor, forgotten_before: Tensor, *, temperature: Positive = 1.0
) -> Tensor:
    """``Σ_i [c_i - log Σ_k exp(c_k / τ)]``: rows to keep stay where they were, those to forget leave (Shen et al., 2024, eq. 9).

    c is the cosine distance, from 0 to 2, of a row's features now from those before; i goes over the rows ``kept`` [n, features], k
    over the ``forgotten`` [m, features], and the temperature τ divides the latter alone. Summed over kept rows: a scalar, which
    falls as kept rows come closer to where they were and forgotten ones move away. Raises ``ValueError`` if shapes differ.

    >>> kept, gone = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> ops.representation_alignment_loss(kept, kept, gone, gone), ops.representation_alignment_loss(kept, kept, -gone, gone)
    (tensor(0.), tensor(-2.))
    """
    require_same_shape(kept, kept_before, "kept rows now and before")
    require_same_shape(forgotten, forgotten_before, "forgotten rows now and before")
    stayed = 1 - F.cosine_similarity(kept, kept_before, dim=1)
    left = 1 - F.cosine_similarity(forgotten, forgotten_before, dim=1)
    return (stayed - (left / temperature).logsumexp(0)).sum()
