"""Crowds seen from a camera: rendered with known head counts, or photographs with annotated points."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, FileDataset, MemoryDataset
from kdrun.data.images import decode
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Positive, Unsigned

__all__ = ["AnnotatedCrowds", "Crowds", "density_map"]

STRIDE = 8
"""Density maps have an eighth of the image's side."""


def density_map(points: Tensor, size: int, deviation: Tensor) -> Tensor:
    """Unit masses spread by Gaussians: [1, size/8, size/8] whose sum is the number of points.

    ``points`` [count, 2] as (x, y) in pixels, ``deviation`` [count] in pixels. Each Gaussian is normalised inside the
    image, and the map is summed over cells of 8 by 8 pixels, so that nothing is lost at borders or by resampling.
    """
    side = size // STRIDE
    if len(points) == 0:
        return torch.zeros(1, side, side)
    place = torch.arange(side * STRIDE) + 0.5
    across = (-((place - points[:, :1]) ** 2) / (2 * deviation[:, None] ** 2)).exp()
    down = (-((place - points[:, 1:]) ** 2) / (2 * deviation[:, None] ** 2)).exp()
    across, down = (v.view(len(points), side, STRIDE).sum(2) for v in (across, down))
    mass = down[:, :, None] * across[:, None, :]
    return (mass / mass.sum((1, 2), keepdim=True).clamp_min(1e-12)).sum(0, keepdim=True)


def nearest_deviation(points: Tensor, factor: float, largest: float) -> Tensor:
    """``factor`` times the summed distances to the three nearest other points (Zhang et al., 2016): [count] in pixels."""
    if len(points) < 2:
        return torch.full((len(points),), largest)
    distance = torch.cdist(points, points).fill_diagonal_(math.inf)
    nearest = distance.topk(min(3, len(points) - 1), largest=False).values.sum(1)
    return (factor * nearest).clamp(1.0, largest)


def _columns(size: int) -> dict[str, Column]:
    side = size // STRIDE
    return {"image": Column((3, size, size)), "density": Column((1, side, side)), "count": Column(())}


@data(name="crowds", fields=("train", "valid", "test"))
class Crowds:
    """Rendered crowds: clustered shaded heads that grow towards the viewer, before two photographs, with distractors.

    ``heads`` are the fewest and the most a picture; images are normalised by ImageNet's mean and deviation. The
    target ``density`` has Gaussians of ``deviation`` pixels, ``count`` is the number of heads. All depends on ``seed``.
    """

    def __init__(
        self,
        *,
        size: Count = 96,
        train: Count = 240,
        valid: Count = 40,
        test: Count = 80,
        heads: list[Count] = (5, 60),  # type: ignore[assignment]
        deviation: Positive = 2.0,
        seed: Unsigned = 0,
    ) -> None:
        if size % STRIDE:
            raise DataError(f"the size is a multiple of {STRIDE}, got {size}", key="data.size")
        self.size, self.heads, self.deviation, self.seed = size, list(heads), deviation, seed
        self.counts = {"train": train, "valid": valid, "test": test}

    def info(self) -> dict[str, DataInfo]:
        return {name: DataInfo(_columns(self.size), 1, count) for name, count in self.counts.items()}

    def load(self) -> dict[str, MemoryDataset]:
        from sklearn.datasets import load_sample_images

        photographs = [torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 for i in load_sample_images().images]
        info = self.info()
        return {n: self._split(photographs, c, info[n], i) for i, (n, c) in enumerate(self.counts.items())}

    def _split(self, photographs: list[Tensor], count: int, info: DataInfo, number: int) -> MemoryDataset:
        generator = torch.Generator().manual_seed(self.seed * 1000 + number)
        pictures, maps, counts = [], [], []
        for _ in range(count):
            points = self._points(generator)
            pictures.append(self._draw(photographs, points, generator))
            maps.append(density_map(points, self.size, torch.full((len(points),), self.deviation)))
            counts.append(float(len(points)))
        columns = {
            "image": _normalized(torch.stack(pictures)),
            "density": torch.stack(maps),
            "count": torch.tensor(counts),
        }
        return MemoryDataset(columns, info)

    def _points(self, generator: torch.Generator) -> Tensor:
        """Heads around a few centres, and some apart: [count, 2] inside the picture."""
        low, high = self.heads
        count = int(torch.randint(low, high + 1, (), generator=generator))
        centres = torch.rand(int(torch.randint(2, 6, (), generator=generator)), 2, generator=generator)
        own = centres[torch.randint(len(centres), (count,), generator=generator)]
        spread = 0.04 + 0.12 * torch.rand(count, 1, generator=generator)
        near = own + spread * torch.randn(count, 2, generator=generator)
        apart = torch.rand(count, 2, generator=generator)
        lonely = torch.rand(count, 1, generator=generator) < 0.2
        return torch.where(lonely, apart, near).clamp(0.03, 0.97) * self.size

    def _draw(self, photographs: list[Tensor], points: Tensor, generator: torch.Generator) -> Tensor:
        def number(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=generator))

        photograph = photographs[int(torch.randint(len(photographs), (), generator=generator))]
        side = int(number(self.size, min(photograph.shape[1:])))
        top, left = (int(number(0, full - side)) for full in photograph.shape[1:])
        cut = photograph[None, :, top : top + side, left : left + side]
        picture = F.interpolate(cut, size=(self.size, self.size), mode="bilinear", antialias=True)[0]
        tint = 1 + 0.3 * (torch.rand(3, 1, 1, generator=generator) * 2 - 1)
        picture = (picture * tint * number(0.5, 1.1) + number(-0.1, 0.2)).clamp(0, 1)
        for _ in range(int(number(0, 8))):
            self._square(picture, generator)
        for point in points[points[:, 1].argsort()]:  # the nearer ones, lower in the picture, hide the farther ones
            self._head(picture, point, generator)
        return (picture + 0.02 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)

    def _square(self, picture: Tensor, generator: torch.Generator) -> None:
        """Something of a head's size that is no head."""
        side = int(torch.randint(3, 8, (), generator=generator))
        x, y = torch.randint(0, self.size - side, (2,), generator=generator).tolist()
        picture[:, y : y + side, x : x + side] = torch.rand(3, 1, 1, generator=generator)

    def _head(self, picture: Tensor, point: Tensor, generator: torch.Generator) -> None:
        radius = 1.5 + 2.5 * float(point[1]) / self.size
        place = torch.arange(self.size) + 0.5
        x, y = place[None, :] - point[0], place[:, None] - point[1]
        distance = (x**2 + y**2).sqrt()
        cover = (radius + 0.5 - distance).clamp(0, 1)
        light = (0.75 - 0.35 * (x + y) / (radius + 1)).clamp(0.2, 1.0)
        colour = torch.tensor([0.75, 0.58, 0.48])[:, None, None] * (0.5 + torch.rand(3, 1, 1, generator=generator))
        picture.mul_(1 - cover).add_(cover * (colour * light).clamp(0, 1))


def _normalized(image: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)


class _Annotated:
    """Decodes picture ``i`` with its points, brought to one size; picklable."""

    def __init__(self, files: list[Path], size: int, factor: float) -> None:
        self.files, self.size, self.factor = files, size, factor

    def __call__(self, row: int) -> dict[str, Tensor]:
        from PIL import Image

        path = self.files[row]
        image = decode(path, size=self.size, resize=self.size, channels=3)
        with Image.open(path) as opened:
            scale = self.size / min(opened.size)
            width, height = opened.size
        points = torch.tensor(_points_of(path), dtype=torch.float32).view(-1, 2) * scale
        points -= torch.tensor([(width * scale - self.size) / 2, (height * scale - self.size) / 2])
        points = points[((points >= 0) & (points < self.size)).all(1)]
        density = density_map(points, self.size, nearest_deviation(points, self.factor, self.size / 16))
        return {"image": _normalized(image), "density": density, "count": torch.tensor(float(len(points)))}


def _points_of(path: Path) -> list[list[float]]:
    """The heads of a picture, from the JSON file beside it."""
    beside = path.with_suffix(".json")
    try:
        points = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{beside} should hold the heads of {path.name} as [[x, y], ...]: {error}") from None
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise DataError(f"{beside} should hold [[x, y], ...] in pixels")
    return points


@data(name="annotated_crowds", fields=("train", "valid", "test"))
class AnnotatedCrowds:
    """Photographs with annotated heads, such as ShanghaiTech: ``root/SPLIT/*.jpg`` and a ``.json`` of [[x, y], ...] beside each.

    Splits are train, valid and test. Pictures are resized by the shorter side and cut to a square; Gaussians have
    ``factor`` times the summed distances to the three nearest heads.
    """

    def __init__(self, *, root: str = "~/.cache/kdrun/data/crowds", size: Count = 576, factor: Positive = 0.1) -> None:
        self.root, self.size, self.factor = Path(root).expanduser(), size, factor

    def info(self) -> dict[str, DataInfo]:
        return {name: DataInfo(_columns(self.size), 1) for name in ("train", "valid", "test")}

    def load(self) -> dict[str, FileDataset]:
        sets = {}
        for name, info in self.info().items():
            folder = self.root / name
            files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
            if not files:
                raise DataError(
                    f"no pictures in {folder}: expected {folder}/*.jpg, each with its heads as [[x, y], ...] in a .json beside it",
                    key="data.root",
                )
            sets[name] = FileDataset(_Annotated(files, self.size, self.factor), len(files), info)
            sets[name].decode(0)
        return sets
