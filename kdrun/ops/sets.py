"""Losses between sets: matching of predictions with targets, and associations inside a set.

No function detaches its inputs unless its text says so.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.registry import op
from kdrun.types import Positive

__all__ = [
    "association_probability",
    "elements_at",
    "set_matching",
    "set_prediction_loss",
    "supervised_contrastive_association",
]


@op
def set_matching(cost: Tensor, mask: Tensor) -> Tensor:
    """The cheapest one-to-one matching of predictions with targets, by the Hungarian method (Kuhn, 1955).

    ``cost`` [..., predictions, targets], ``mask`` [..., targets] (bool) says which targets there are. The result [...,
    targets] (int64) is the prediction that each has, -1 for those that are not there, and for the dearest ones where
    there are more targets than predictions. Nothing passes a gradient. Solved on the CPU.

    >>> cost = torch.tensor([[1.0, 2.0, 0.0], [0.0, 5.0, 0.0]])  # two predictions, three targets
    >>> ops.set_matching(cost, torch.tensor([True, True, False]))
    tensor([ 1,  0, -1])
    """
    return _assigned(cost.detach(), mask)


@torch.library.custom_op("kdrun::set_matching", mutates_args=())
def _assigned(cost: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``set_matching`` as an operator that planning and ``torch.compile`` take as a whole: they know its shape alone."""
    from scipy.optimize import linear_sum_assignment

    table = np.nan_to_num(cost.float().cpu().numpy(), nan=0.0, posinf=1e9, neginf=-1e9)
    there = mask.cpu().numpy().reshape(-1, mask.shape[-1])
    chosen = np.full(there.shape, -1, dtype=np.int64)
    for row, (costs, real) in enumerate(zip(table.reshape(-1, *cost.shape[-2:]), there, strict=True)):
        columns = np.flatnonzero(real)
        predictions, targets = linear_sum_assignment(costs[:, columns])
        chosen[row, columns[targets]] = predictions
    return torch.from_numpy(chosen).view(mask.shape).to(cost.device)


@_assigned.register_fake
def _(cost: Tensor, mask: Tensor) -> Tensor:
    return torch.empty(mask.shape, dtype=torch.int64, device=cost.device)


@op
def set_prediction_loss(
    states: Tensor, existence: Tensor, targets: Tensor, mask: Tensor, *, mean_targets: Positive
) -> dict[str, Tensor]:
    """Loss of predicted sets against true ones, matched one to one (Pinto et al., 2021; Carion et al., 2020).

    ``states`` [batch, layers, queries, dim] and ``existence`` logits [batch, layers, queries], or both without layers;
    ``targets`` [batch, targets, dim] of which ``mask`` [batch, targets] (bool) are there. Matched scene by scene and
    layer by layer, by distance minus probability. Gives two scalars, each added up over layers: ``existence``, the
    binary cross-entropy with target 1 for matched queries, weighted there by (queries - mean)/mean with
    ``mean_targets`` the usual number of targets, as a mean over batch and queries; and ``state``, the absolute error as
    a mean over matched coordinates. Raises ``ValueError`` for other shapes.

    >>> states, targets = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.tensor([[[3.0, 5.0]]])
    >>> mask = torch.tensor([[True]])
    >>> ops.set_prediction_loss(states, torch.zeros(1, 2), targets, mask, mean_targets=1.0)  # the second query is near
    {'existence': tensor(0.6931), 'state': tensor(0.5000)}
    """
    if states.dim() == 3:
        states, existence = states.unsqueeze(1), existence.unsqueeze(1)
    require_same_shape(states[..., 0], existence, "states (without their last axis) and existence")
    if len(targets) != len(states) or targets.shape[:2] != mask.shape or targets.shape[-1] != states.shape[-1]:
        raise ValueError(
            f"targets {list(targets.shape)} and mask {list(mask.shape)} do not fit states {list(states.shape)}"
        )
    layers, queries, dim = states.shape[1:]
    wanted = targets.unsqueeze(1).expand(-1, layers, -1, -1).float()
    there = mask.unsqueeze(1).expand(-1, layers, -1)
    with torch.no_grad():
        cost = torch.cdist(states.float(), wanted) - existence.float().sigmoid().unsqueeze(-1)
    partner = set_matching(cost, there)
    matched = partner >= 0
    place = partner.clamp_min(0)
    found = states.float().gather(2, place.unsqueeze(-1).expand(*place.shape, dim))
    error = (found - wanted).abs().sum(-1) * matched
    state = error.sum((0, 2)) / (dim * matched.sum((0, 2))).clamp_min(1)
    label = torch.zeros_like(existence, dtype=torch.float32).scatter_add_(2, place, matched.float())
    weight = torch.full((), (queries - mean_targets) / mean_targets, device=states.device)
    entropy = F.binary_cross_entropy_with_logits(existence.float(), label, pos_weight=weight, reduction="none")
    return {"existence": entropy.mean((0, 2)).sum(), "state": state.sum()}


@op
def supervised_contrastive_association(embeds: Tensor, ids: Tensor, *, temperature: Positive = 1.0) -> Tensor:
    """Cross-entropy of each element finding those of its origin (Khosla et al., 2020; Pinto et al., 2021): a scalar.

    ``embeds`` [batch, elements, dim], L2-normalised here; ``ids`` [batch, elements] (int64), where all of -1 are one
    class and -2 fills up. Each row's log-softmax of cosines over the temperature runs over the other elements of its
    scene; the target is uniform over partners. A mean over all elements of the batch that have a partner; 0 if there is
    none. Raises ``ValueError`` unless there is an id an element.

    >>> embeds = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> ops.supervised_contrastive_association(embeds, torch.tensor([[5, 5, 7]]))
    tensor(0.3133)
    >>> ops.supervised_contrastive_association(embeds, torch.tensor([[5, 7, 5]]))
    tensor(1.0032)
    """
    logs, partners = _associations(embeds, ids, temperature)
    count = partners.sum(2)
    rows = -(logs * partners).sum(2) / count.clamp_min(1)
    return rows.sum() / (count > 0).sum().clamp_min(1)


@op
def association_probability(embeds: Tensor, ids: Tensor, *, temperature: Positive = 1.0) -> Tensor:
    """The probability that elements give to all their partners together, in [0, 1], as a mean over those that have one.

    ``embeds`` and ``ids`` as in ``supervised_contrastive_association``, which falls as this rises.

    >>> embeds = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> ops.association_probability(embeds, torch.tensor([[5, 5, 7]]), temperature=0.1)
    tensor(1.0000)
    >>> ops.association_probability(torch.ones(1, 3, 2), torch.tensor([[5, 5, 7]]))  # by chance
    tensor(0.5000)
    """
    logs, partners = _associations(embeds, ids, temperature)
    return (logs.exp() * partners).sum() / partners.any(2).sum().clamp_min(1)


def _associations(embeds: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities [batch, elements, elements], 0 where there is no pair, and which pairs have one origin (bool)."""
    if embeds.shape[:2] != ids.shape:
        raise ValueError(f"embeds {list(embeds.shape)} need as many ids, got {list(ids.shape)}")
    unit = F.normalize(embeds.float(), dim=2)
    real = ids >= -1
    other = real[:, None, :] & ~torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
    scores = (unit @ unit.transpose(1, 2) / temperature).masked_fill(~other, -1e9)
    pairs = other & real[:, :, None]
    logs = scores.log_softmax(2).masked_fill(~pairs, 0.0)
    return logs, pairs & (ids[:, :, None] == ids[:, None, :])


@op
def elements_at(measurements: Tensor, ids: Tensor | None = None, *, time: int) -> Tensor:
    """Measurements of one time as a sure estimate of a set: [batch, elements, dim + 1] with 1 or 0 as last column.

    ``measurements`` [batch, elements, dim + 1] with the time last; with ``ids`` [batch, elements], only those that come
    from a target (0 or more).

    >>> ops.elements_at(torch.tensor([[[0.5, 0.6, 1.0], [0.1, 0.2, 2.0]]]), time=2)
    tensor([[[0.5000, 0.6000, 0.0000],
             [0.1000, 0.2000, 1.0000]]])
    """
    chosen = measurements[..., -1] == time
    if ids is not None:
        chosen = chosen & (ids >= 0)
    return torch.cat([measurements[..., :-1], chosen.unsqueeze(-1).to(measurements.dtype)], -1)
