"""Finding inputs for which models say what is wanted, with no more than their answers."""

from __future__ import annotations

from collections.abc import Callable
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
    box = _BlackBox(generator_model, target, data, generator, context.device)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(context.device)

    def state() -> tuple[Any, ...]:
        return centre, kept, size, box.asked, generator.get_state()

    first, saved = context.resumed() or (0, None)
    if saved is None:
        centre = _started(box, lambda: drawn(len(data), latent), draws)
        kept, size = centre.clone(), torch.full((len(data), 1), radius, device=context.device)
    else:
        *points, box.asked, numbers = saved
        centre, kept, size = (p.to(context.device) for p in points)
        generator.set_state(numbers)
    context.reporter.stage_started(context.name, rounds, "rounds")
    for number in range(first, rounds):
        context.checkpoint(number, state)
        whole, away = box.sphere(centre, size, F.normalize(drawn(len(data), directions, latent), dim=2))
        kept = torch.where(whole, centre, kept)
        centre = torch.where(whole, centre, centre + (size / 3).clamp_max(largest_step) * away)
        size = torch.where(whole, growth * size, size)
        context.reporter.advanced(context.name, number + 1)
    return {"latent": kept, "style": box.style, "queries": torch.tensor(box.asked)}


class _BlackBox:
    """A generator whose samples a black box labels, with the ``label`` [rows] wanted and the ``style`` [rows] drawn for it."""

    def __init__(
        self, generator_model: Module, target: Module, data: Dataset, generator: torch.Generator, device: torch.device
    ) -> None:
        self.generator_model, self.target = generator_model, target
        self.label = data.rows()["label"].to(device)
        self.style = torch.randint(data.info.classes or 1, (len(self.label),), generator=generator).to(device)
        self.asked = 0

    def inside(self, points: Tensor, rows: Tensor) -> Tensor:
        """Which latents [points, latent] give the labels of their ``rows`` [points]: bool."""
        self.asked += len(points)
        return self.target(self.generator_model(points, self.style[rows]))["label"] == self.label[rows]

    def sphere(self, centre: Tensor, size: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Whether all points around each centre are inside [rows, 1], and the way from those that are not [rows, latent].

        ``centre`` [rows, latent], ``size`` [rows, 1], ``unit`` [rows, directions, latent].
        """
        points = (centre[:, None] + size[:, None] * unit).flatten(0, 1)
        rows = torch.arange(len(unit), device=unit.device).repeat_interleave(unit.shape[1])
        same = self.inside(points, rows).view(len(unit), -1)
        return same.all(1, keepdim=True), -(unit * (~same)[..., None]).mean(1)


def _started(box: _BlackBox, draw: Callable[[], Tensor], draws: int) -> Tensor:
    """Latents inside the regions of the wanted labels, the last of ``draws`` where none is: [rows, latent]."""
    centre = draw()
    found = box.inside(centre, torch.arange(len(centre), device=centre.device))
    for _ in range(draws):
        if found.all():
            break
        centre = torch.where(found[:, None], centre, draw())
        rows = (~found).nonzero().squeeze(1)
        found[rows] = box.inside(centre[rows], rows)
    return centre
