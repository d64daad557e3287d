"""Small pictures of coloured shapes: classes with names that say what they look like, in tasks of classes or of domains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, Unsigned

__all__ = ["COLOURS", "SHAPES", "ShapeTasks"]

COLOURS = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.75, 0.2),
    "blue": (0.15, 0.25, 0.85),
    "yellow": (0.9, 0.85, 0.15),
    "purple": (0.6, 0.15, 0.75),
}
"""Red, green and blue of each colour, from 0 to 1."""


def _circle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return x.square() + y.square() <= radius.square()


def _square(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) <= 0.85 * radius


def _triangle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (y <= 0.7 * radius) & (y >= -radius) & (x.abs() <= 0.6 * (y + radius))


def _cross(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (torch.minimum(x.abs(), y.abs()) <= 0.35 * radius) & (torch.maximum(x.abs(), y.abs()) <= radius)


SHAPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
}
"""Which pixels a shape covers, by their places seen from its centre and its radius, all in pixels."""


@data(name="shape_tasks", items={"tasks": "tasks"})
class ShapeTasks:
    """Pictures of one coloured shape each in ``tasks``, which bring new classes or new domains; labels are one numbering for all.

    The 20 classes are colours by shapes, named "red circle" and so on, the shape changing fastest. Tasks of ``classes`` share
    them out in equal parts, in a random order by ``seed``; a task of ``domains`` has all of them in conditions of its own: an angle
    by which shapes are turned, a tint of the background that they let through, and a contrast. Centres and radii (3 to 4.5 pixels of 16)
    are random; colours vary by ``jitter`` a channel, the background's are up to ``background``, and pixels have ``noise`` (standard
    deviation). Splits are drawn independently: ``tasks.0.train`` … has ``per_class`` rows for each class of the task, ``valid`` and ``test`` the
    other two numbers. Columns: ``image`` [3, size, size], ``label`` and ``task`` (int64). Raises ``DataError`` if 20 classes do not divide.

    >>> part = data.shape_tasks(tasks=5, per_class=3, valid_per_class=1, test_per_class=2)
    >>> tasks = part.load()["tasks"]
    >>> len(tasks), tasks[4]["train"].rows()["image"].shape, len(tasks[4]["test"].rows()["label"].unique())
    (5, torch.Size([12, 3, 16, 16]), 4)
    >>> part.info()["tasks"][0]["train"].class_names[:5]
    ('red circle', 'red square', 'red triangle', 'red cross', 'green circle')
    """

    def __init__(
        self,
        *,
        tasks: Count = 5,
        increment: Literal["classes", "domains"] = "classes",
        size: Count = 16,
        per_class: Count = 80,
        valid_per_class: Count = 20,
        test_per_class: Count = 40,
        jitter: NonNegative = 0.15,
        background: Fraction = 0.5,
        noise: NonNegative = 0.15,
        seed: Unsigned = 0,
    ) -> None:
        self.names = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
        if increment == "classes" and len(self.names) % tasks:
            raise DataError(f"{len(self.names)} classes do not divide into {tasks} tasks", key="data.tasks")
        self.tasks, self.increment, self.size, self.seed = tasks, increment, size, seed
        self.counts = {"train": per_class, "valid": valid_per_class, "test": test_per_class}
        self.jitter, self.background, self.noise = jitter, background, noise

    def info(self) -> dict[str, Any]:
        columns = {
            "image": Column((3, self.size, self.size)),
            "label": Column((), torch.int64),
            "task": Column((), torch.int64),
        }
        classes = len(self.names)
        own = classes // self.tasks if self.increment == "classes" else classes
        split = {n: DataInfo(columns, classes, own * count, self.names) for n, count in self.counts.items()}
        return {"tasks": [split] * self.tasks}

    def load(self) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self.names), generator=generator)
        by_task = order.view(self.tasks, -1) if self.increment == "classes" else order.expand(self.tasks, -1)
        info = self.info()["tasks"][0]
        return {
            "tasks": [
                {n: self._split(classes, task, count, info[n], generator) for n, count in self.counts.items()}
                for task, classes in enumerate(by_task)
            ]
        }

    def _split(
        self, classes: Tensor, task: int, count: int, info: DataInfo, generator: torch.Generator
    ) -> MemoryDataset:
        label = classes.repeat_interleave(count)
        label = label[torch.randperm(len(label), generator=generator)]
        image = self._drawn(label, task if self.increment == "domains" else None, generator)
        return MemoryDataset({"image": image, "label": label, "task": torch.full((len(label),), task)}, info)

    def _drawn(self, label: Tensor, domain: int | None, generator: torch.Generator) -> Tensor:
        """Pictures [rows, 3, size, size] of classes [rows]."""
        rows, size = len(label), self.size

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(rows, *shape, generator=generator) * (high - low) + low

        radius = uniform(3.0, 4.5, 1, 1) * size / 16
        centre = uniform(0.0, 1.0, 2, 1, 1) * (size - 1 - 2 * radius[:, None]) + radius[:, None]
        covered = self._covered(label, centre, radius, 0.0 if domain is None else math.pi / 4 * domain / self.tasks)
        colour = torch.tensor(list(COLOURS.values()))[label // len(SHAPES)]
        colour = (colour + uniform(-self.jitter, self.jitter, 3)).clamp(0, 1)
        behind = uniform(0.0, self.background, 3)
        if domain is not None:
            tint = torch.tensor([0.5 + 0.5 * math.cos(2 * math.pi * (domain / self.tasks - k / 3)) for k in range(3)])
            behind = 0.3 * behind + 0.7 * tint
            colour = (0.75 - 0.35 * domain / self.tasks) * colour + 0.25 * tint
        image = torch.where(covered[:, None], colour[:, :, None, None], behind[:, :, None, None])
        return image + self.noise * torch.randn(image.shape, generator=generator)

    def _covered(self, label: Tensor, centre: Tensor, radius: Tensor, angle: float) -> Tensor:
        """Which pixels [rows, size, size] (bool) the shapes cover, turned by ``angle``."""
        axis = torch.arange(float(self.size))
        down, across = axis[None, :, None] - centre[:, 0], axis[None, None, :] - centre[:, 1]
        x, y = math.cos(angle) * across + math.sin(angle) * down, math.cos(angle) * down - math.sin(angle) * across
        masks = torch.stack([covers(x, y, radius) for covers in SHAPES.values()], dim=1)
        return masks[torch.arange(len(label)), label % len(SHAPES)]
