"""Finding inputs for which models say what is wanted, with no more than their answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn import functional as F

from kdrun.data.dataset import Dataset
from kdrun.registry import solve
from kdrun.runtime.context import Context
from kdrun.types import Count, Positive

__all__ = ["boundary_repulsion"]


@solve(fields=("latent", "style", "queries"))
@torch.no_grad()
def boundary_repulsion(
    generator_model: Module,
    target: Module,
    data: Dataset,
    *,
    latent: Count,
    directions: Count = 32,
    rounds: Count = 100,
    draws: Count = 200,
    radius: Positive = 2.0,
    growth: Positive = 1.3,
    largest_step: Positive = 3.0,
    context: Context,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Latents far inside the region that a black box gives to ``label`` (Kahla et al., 2022).

    ``generator_model`` maps latents [rows, latent] and styles [rows] to inputs, ``target`` those to ``label`` [rows]. Each row of
    ``data`` starts from one of ``draws`` random latents that the black box puts into its class (from the last one if none is).
    A round asks about ``directions`` points on a sphere around it: if all are of the class, the centre is kept and the radius
    grows by ``growth``; else the centre moves by minus the mean over all directions of those that leave the class, times a
    third of the radius (``largest_step`` at most). The generator's own labels are drawn at random and kept. Gives ``latent``
    [rows, latent], the last centre kept of each row, ``style`` [rows] (int64), the generator's label for it, and ``queries``, how
    many rows the black box was asked about.
    """
    label = data.rows()["label"].to(context.device)
    style = torch.randint(data.info.classes or 1, (len(label),), generator=generator).to(context.device)
    asked = 0

    def inside(points: Tensor, wanted: Tensor, styles: Tensor) -> Tensor:
        nonlocal asked
        asked += len(points)
        return target(generator_model(points, styles))["label"] == wanted

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(context.device)

    def started() -> tuple[Tensor, Tensor, Tensor]:
        centre = drawn(len(label), latent)
        found = inside(centre, label, style)
        for _ in range(draws):
            if found.all():
                break
            fresh = drawn(len(label), latent)
            centre = torch.where(found[:, None], centre, fresh)
            rows = (~found).nonzero().squeeze(1)
            found[rows] = inside(centre[rows], label[rows], style[rows])
        return centre, centre.clone(), torch.full((len(label), 1), radius, device=context.device)

    def state() -> tuple[Any, ...]:
        return centre, kept, size, asked, generator.get_state()

    first, saved = context.resumed() or (0, None)
    if saved is None:
        centre, kept, size = started()
    else:
        *points, asked, numbers = saved
        centre, kept, size = (p.to(context.device) for p in points)
        generator.set_state(numbers)
    context.reporter.stage_started(context.name, rounds, "rounds")
    for number in range(first, rounds):
        context.checkpoint(number, state)
        unit = F.normalize(drawn(len(label), directions, latent), dim=2)
        points = (centre[:, None] + size[:, None] * unit).flatten(0, 1)
        same = inside(points, label.repeat_interleave(directions), style.repeat_interleave(directions)).view(
            len(label), -1
        )
        whole = same.all(1, keepdim=True)
        kept = torch.where(whole, centre, kept)
        away = -(unit * (~same)[..., None]).mean(1)
        step = (size / 3).clamp_max(largest_step)
        centre = torch.where(whole, centre, centre + step * away)
        size = torch.where(whole, growth * size, size)
        context.reporter.advanced(context.name, number + 1)
    return {"latent": kept, "style": style, "queries": torch.tensor(asked)}
