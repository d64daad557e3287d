"""From annotated points to density maps, whose sum is the number of points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["adaptive_deviation", "points_to_density"]


def points_to_density(points: Tensor, height: int, width: int, deviation: Tensor, *, stride: int = 8) -> Tensor:
    """Unit masses spread by Gaussians: [1, height/stride, width/stride], whose sum is the number of points.

    ``points`` [count, 2] as (x, y) and ``deviation`` [count], both in pixels; the corner of the image is (0, 0). Each
    Gaussian is integrated exactly over cells of ``stride`` pixels and scaled to mass 1 inside the image, so that neither
    borders nor resampling change the count. ``height`` and ``width`` are multiples of ``stride``, points lie inside.
    """
    across = _cell_masses(points[:, 0], deviation, width // stride, stride)
    down = _cell_masses(points[:, 1], deviation, height // stride, stride)
    return (down.T @ across)[None].float()


def _cell_masses(place: Tensor, deviation: Tensor, cells: int, stride: int) -> Tensor:
    """The share of each Gaussian in each cell of one axis: [count, cells], rows sum to 1."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * stride
    scaled = (edges - place[:, None]) / (deviation[:, None] * math.sqrt(2))
    mass = torch.special.erf(scaled).diff(dim=1) / 2
    return mass / mass.sum(1, keepdim=True)


def adaptive_deviation(points: Tensor, *, factor: float, alone: float) -> Tensor:
    """``factor`` times the summed distances to the three nearest other points (Zhang et al., 2016): [count] in pixels.

    With fewer than three others, their mean distance stands for the missing ones; a single point has ``alone``.
    At least half a pixel, since annotators may click twice.
    """
    count = len(points)
    if count < 2:
        return torch.full((count,), alone)
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf)
    nearest = distance.topk(min(3, count - 1), largest=False).values.mean(1)
    return (3 * factor * nearest).clamp_min(0.5)
