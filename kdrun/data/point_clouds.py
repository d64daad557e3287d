"""Clouds of points on the surfaces of simple solids, as scanners of different quality see them."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, Unsigned

__all__ = ["SOLIDS", "Solids", "unit_sphere"]

ROUND = 24
"""Sides of what is round."""


def _arc(start: float, end: float, radius: float = 1.0, centre: float = 0.0) -> list[tuple[float, float]]:
    angles = [math.radians(start + (end - start) * i / ROUND) for i in range(ROUND + 1)]
    return [(centre + radius * math.cos(a), radius * math.sin(a)) for a in angles]


BAR = [(0.0, -1.0), (0.7, -1.0), (0.7, 1.0), (0.0, 1.0)]
SPIKE = [(0.0, -1.0), (0.9, -1.0), (0.0, 1.0)]
SOLIDS: dict[str, tuple[list[tuple[float, float]], int]] = {
    "sphere": (_arc(-90, 90), ROUND),
    "cylinder": (BAR, ROUND),
    "cone": (SPIKE, ROUND),
    "torus": (_arc(-180, 180, 0.3, 0.7), ROUND),
    "hourglass": ([(0.0, -1.0), (0.8, -1.0), (0.0, 0.0), (0.8, 1.0), (0.0, 1.0)], ROUND),
    "bowl": (_arc(-90, 0), ROUND),
    "box": (BAR, 4),
    "pyramid": (SPIKE, 4),
    "prism": (BAR, 3),
    "octahedron": ([(0.0, -1.0), (0.9, 0.0), (0.0, 1.0)], 4),
}
"""Each solid's profile, points (distance from the axis, height), and by how many sides it is turned around the axis."""


@functools.cache
def _triangles(name: str) -> Tensor:
    """The surface of a solid as triangles [count, 3 corners, 3]."""
    profile, sides = SOLIDS[name]
    angle = torch.arange(sides + 1) * (2 * math.pi / sides)
    radius, height = torch.tensor(profile).unbind(1)
    ring = torch.stack([angle.cos()[:, None] * radius, angle.sin()[:, None] * radius, height.expand(sides + 1, -1)], 2)
    a, b, c, d = ring[:-1, :-1], ring[1:, :-1], ring[:-1, 1:], ring[1:, 1:]
    return torch.cat([torch.stack(corners, 2).flatten(0, 1) for corners in ((a, b, c), (b, d, c))])


def unit_sphere(points: Tensor) -> Tensor:
    """Clouds [..., points, 3] moved to their mean and scaled so that the farthest point is at distance 1."""
    centred = points - points.mean(-2, keepdim=True)
    return centred / torch.linalg.vector_norm(centred, dim=-1).amax(-1)[..., None, None].clamp_min(1e-12)


@data(name="solids", fields=("train", "valid", "test"))
class Solids:
    """Point clouds of ten solids, stretched and turned, with what a scanner does to them.

    ``points`` lie on the surface, uniformly but for what follows. Each solid is stretched by up to ``stretch`` along each axis, turned freely
    around its own axis and tilted by up to ``tilt`` degrees. Of the surface a share ``occlusion``, what is farthest from a random direction, is
    not seen; along another one points thin out by ``e^-gradient`` over a unit of length; then each moves by normal ``noise``
    (standard deviation; solids are about 2 high). Clouds are moved to their mean and scaled to the unit sphere at the end. ``train``,
    ``valid`` and ``test`` have ``per_class``, ``valid_per_class`` and ``test_per_class`` rows a class; the draw depends on ``seed``
    alone. Columns: ``points`` [points, 3] and ``label`` (int64).

    >>> splits = data.solids(points=32, per_class=2, occlusion=0.5).load()
    >>> splits["train"].rows()["points"].shape, splits["train"].info.class_names[:3]
    (torch.Size([20, 32, 3]), ('sphere', 'cylinder', 'cone'))
    """

    def __init__(
        self,
        *,
        points: Count = 128,
        per_class: Count = 100,
        valid_per_class: Count = 20,
        test_per_class: Count = 60,
        stretch: Fraction = 0.2,
        tilt: NonNegative = 15.0,
        occlusion: Fraction = 0.0,
        gradient: NonNegative = 0.0,
        noise: NonNegative = 0.0,
        seed: Unsigned = 0,
    ) -> None:
        self.points, self.seed = points, seed
        self.counts = {"train": per_class, "valid": valid_per_class, "test": test_per_class}
        self.stretch, self.tilt = stretch, tilt
        self.occlusion, self.gradient, self.noise = occlusion, gradient, noise

    def info(self) -> dict[str, DataInfo]:
        columns = {"points": Column((self.points, 3)), "label": Column((), torch.int64)}
        return {n: DataInfo(columns, len(SOLIDS), c * len(SOLIDS), tuple(SOLIDS)) for n, c in self.counts.items()}

    def load(self) -> dict[str, MemoryDataset]:
        info, splits = self.info(), {}
        for number, (name, count) in enumerate(self.counts.items()):
            generator = torch.Generator().manual_seed(self.seed * 8 + number)
            clouds = torch.cat([self._clouds(solid, count, generator) for solid in SOLIDS])
            label = torch.arange(len(SOLIDS)).repeat_interleave(count)
            order = torch.randperm(len(label), generator=generator)
            splits[name] = MemoryDataset({"points": clouds[order], "label": label[order]}, info[name])
        return splits

    def _clouds(self, solid: str, rows: int, generator: torch.Generator) -> Tensor:
        """[rows, points, 3]: of many points on the surface, those that are seen."""
        many = 4 * self.points
        surface = _on_surface(_triangles(solid), rows, many, generator)
        surface = surface * (1 + self.stretch * (2 * torch.rand(rows, 1, 3, generator=generator) - 1))
        surface = surface @ _turns(rows, self.tilt, generator)
        depth, along = ((surface @ _directions(rows, generator)[:, :, None]).squeeze(2) for _ in range(2))
        hidden = depth < depth.quantile(self.occlusion, dim=1, keepdim=True) if self.occlusion else depth < -torch.inf
        chance = (-self.gradient * along).exp().masked_fill(hidden, 0.0)
        chosen = torch.multinomial(chance, self.points, generator=generator)
        seen = surface.gather(1, chosen[:, :, None].expand(-1, -1, 3))
        return unit_sphere(seen + self.noise * torch.randn(seen.shape, generator=generator))


def _on_surface(triangles: Tensor, rows: int, count: int, generator: torch.Generator) -> Tensor:
    """Points [rows, count, 3], uniform over the area."""
    first, *others = triangles.unbind(1)
    one, two = (corner - first for corner in others)
    area = torch.linalg.vector_norm(torch.linalg.cross(one, two), dim=1)
    chosen = torch.multinomial(area, rows * count, replacement=True, generator=generator)
    u, v = torch.rand(2, rows * count, 1, generator=generator)
    beyond = u + v > 1
    u, v = torch.where(beyond, 1 - u, u), torch.where(beyond, 1 - v, v)
    return (first[chosen] + u * one[chosen] + v * two[chosen]).view(rows, count, 3)


def _directions(rows: int, generator: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(rows, 3, generator=generator), dim=1)


def _turns(rows: int, tilt: float, generator: torch.Generator) -> Tensor:
    """Rotations [rows, 3, 3]: freely around the height, then by up to ``tilt`` degrees around a level axis."""
    spin, way = (2 * math.pi * torch.rand(2, rows, generator=generator)).unbind(0)
    lean = math.radians(tilt) * torch.rand(rows, generator=generator)

    def around(angle: Tensor) -> Tensor:
        zero, one = torch.zeros_like(angle), torch.ones_like(angle)
        rotation = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
        return torch.stack(rotation, 1).view(-1, 3, 3)

    zero, one = torch.zeros_like(lean), torch.ones_like(lean)
    entries = [one, zero, zero, zero, lean.cos(), -lean.sin(), zero, lean.sin(), lean.cos()]
    tilted = torch.stack(entries, 1).view(-1, 3, 3)
    return around(spin) @ around(way).transpose(1, 2) @ tilted @ around(way)
