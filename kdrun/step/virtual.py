"""Steps of an update that are taken on paper: differentiable, for another update that looks through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.step.compiler import Segment

__all__ = ["virtual_steps"]

Mean = Callable[[list[Tensor]], Sequence[Tensor]]


def virtual_steps(
    segment: Segment,
    r: list[Any],
    loss_of: Callable[[Segment], Tensor],
    modules: Mapping[str, nn.Module],
    *,
    rate: float | None,
    mean: Mean | None = None,
) -> None:
    """Move the inner update's parameters by gradient steps; later instructions read the moved ones from registers ``r``.

    ``through`` says how many ``steps``, at which ``lr`` (else ``rate``, that of the inner update's optimizer), and whether
    gradients of the second ``order`` are kept. ``mean`` takes gradients over processes. Raises ``InputError`` without a rate.
    """
    assert segment.inner is not None
    assert segment.update.through is not None
    options = segment.update.through
    update = segment.inner.update
    size = options.get("lr", rate)
    if size is None:
        raise InputError(
            f"'{update.name}' never runs by itself, so it has no rate: through needs lr",
            key=f"{segment.update.key}.through",
        )
    second = options.get("order", "second") == "second"
    current: dict[str, dict[str, Tensor]] = {
        role: {n: p for n, p in modules[role].named_parameters() if p.requires_grad} for role in update.roles()
    }
    for _ in range(int(options.get("steps", 1))):
        for role, register in segment.virtual.items():
            r[register] = current[role]
        loss = loss_of(segment.inner)
        flat = [(role, name) for role in current for name in current[role] if update.trains(role, name)]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            loss, [current[role][name] for role, name in flat], create_graph=second, allow_unused=True
        )
        if mean is not None:
            gradients = _mean(gradients, mean)
        current = {role: dict(values) for role, values in current.items()}
        for (role, name), gradient in zip(flat, gradients, strict=True):
            if gradient is not None:
                current[role][name] = current[role][name] - size * gradient
    for role, register in segment.virtual.items():
        r[register] = current[role]


def _mean(gradients: Sequence[Tensor | None], mean: Mean) -> list[Tensor | None]:
    """The mean over processes of those that are there."""
    means = iter(mean([g for g in gradients if g is not None]))
    return [None if g is None else next(means) for g in gradients]
