"""Sequences of related tasks for continual learning."""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.cifar_classes import FINE, SUPERCLASS_OF, SUPERCLASSES
from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.glyph_images import Glyphs
from kdrun.data.handwritten_digits import Digits
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, PathToRead, Positive, Unsigned

__all__ = ["RotatedDigits", "SplitCifar100", "SplitGlyphs"]


CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase


@data(name="rotated_digits", items={"tasks": "tasks"})
class RotatedDigits:
    """The digits again and again: task t shows them turned by t · ``angle`` degrees, with noise; all classes, few labels.

    The digits are dealt once, by ``seed``, into those to learn and those to be asked about, in the proportion of ``train_rows`` to
    ``test_rows``: ``tasks.0.train`` … have ``train_rows`` of the former each, ``tasks.0.test`` … ``test_rows`` of the latter, drawn
    anew for each task, so that no task is asked about a digit that another one learns. Columns: ``image`` [1, 8, 8] with noise of standard deviation ``noise``, ``label`` and
    ``task``, its number (int64). Raises ``DataError`` for more rows than there are digits.

    >>> tasks = data.rotated_digits(tasks=3, train_rows=20, test_rows=10).load()["tasks"]
    >>> len(tasks), tasks[2]["train"].rows()["task"].unique()
    (3, tensor([2]))
    """

    def __init__(
        self,
        *,
        tasks: Count = 6,
        angle: float = 8.0,
        train_rows: Count = 200,
        test_rows: Count = 500,
        noise: NonNegative = 0.1,
        seed: Unsigned = 0,
    ) -> None:
        self.tasks, self.angle, self.noise, self.seed = tasks, angle, noise, seed
        self.rows = {"train": train_rows, "test": test_rows}
        if train_rows + test_rows > 1797:
            raise DataError(f"{train_rows} and {test_rows} rows: there are 1797 digits", key="data.train_rows")

    def info(self) -> dict[str, Any]:
        columns = {
            "image": Column((1, 8, 8)),
            "label": Column((), torch.int64),
            "task": Column((), torch.int64),
        }
        return {"tasks": [{n: DataInfo(columns, 10, count) for n, count in self.rows.items()}] * self.tasks}

    def load(self) -> dict[str, Any]:
        splits = Digits().load()
        image, label = (
            torch.cat([splits[s].rows()[c] for s in ("train", "valid", "test")]) for c in ("image", "label")
        )
        info = self.info()["tasks"][0]
        pools = self._dealt(len(label))
        found = []
        for task in range(self.tasks):
            generator = torch.Generator().manual_seed(1000 * self.seed + task)
            orders = {n: torch.randperm(len(pool), generator=generator) for n, pool in pools.items()}
            cut = {n: pool[orders[n][: self.rows[n]]] for n, pool in pools.items()}
            found.append({n: self._rows(image[i], label[i], task, info[n], generator) for n, i in cut.items()})
        return {"tasks": found}

    def _dealt(self, count: int) -> dict[str, Tensor]:
        """The rows of all digits that tasks learn from, and those that they are asked about."""
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        train = self.rows["train"] + (count - sum(self.rows.values())) * self.rows["train"] // sum(self.rows.values())
        return {"train": order[:train], "test": order[train:]}

    def _rows(
        self, image: Tensor, label: Tensor, task: int, info: DataInfo, generator: torch.Generator
    ) -> MemoryDataset:
        angle = math.radians(self.angle * task)
        matrix = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
        grid = F.affine_grid(matrix.expand(len(image), 2, 3), list(image.shape), align_corners=False)
        turned = F.grid_sample(image, grid, align_corners=False)
        noisy = turned + self.noise * torch.randn(turned.shape, generator=generator)
        return MemoryDataset({"image": noisy, "label": label, "task": torch.full((len(label),), task)}, info)


@data(name="split_glyphs", items={"tasks": "tasks"})
class SplitGlyphs:
    """Rendered characters in ``tasks`` of ``classes`` each, in a random order of characters by ``seed``; labels are those in the task.

    The characters are digits and letters. Images [1, size, size] are drawn anew for each split, in the named ``typefaces``, as of
    ``glyphs``: turned by up to ``rotation`` degrees, moved by up to ``shift`` of the side, their contrast lower by up to ``contrast``,
    with ``noise``; capitals are half as high as the image, times ``magnify``. ``tasks.0.train`` … has ``per_class`` rows a class, ``valid`` and ``test`` the other two numbers. Columns:
    ``image``, ``label`` and ``task`` (int64). Raises ``DataError`` for more classes than the 62 characters.

    >>> tasks = data.split_glyphs(tasks=3, classes=4, per_class=5, valid_per_class=1, test_per_class=2).load()["tasks"]
    >>> len(tasks), tasks[2]["train"].rows()["image"].shape, tasks[2]["test"].rows()["label"].unique()
    (3, torch.Size([20, 1, 16, 16]), tensor([0, 1, 2, 3]))
    """

    def __init__(
        self,
        *,
        tasks: Count = 8,
        classes: Count = 6,
        size: Count = 16,
        per_class: Count = 150,
        valid_per_class: Count = 25,
        test_per_class: Count = 100,
        typefaces: list[str] | None = None,
        rotation: NonNegative = 15.0,
        shift: NonNegative = 0.125,
        contrast: Fraction = 0.4,
        noise: NonNegative = 0.2,
        magnify: Positive = 1.5,
        seed: Unsigned = 0,
    ) -> None:
        if tasks * classes > len(CHARACTERS):
            raise DataError(
                f"{tasks} tasks of {classes} classes: there are {len(CHARACTERS)} characters", key="data.tasks"
            )
        self.tasks, self.classes, self.seed = tasks, classes, seed
        self.counts = {"train": per_class, "valid": valid_per_class, "test": test_per_class}
        self.style: dict[str, Any] = {
            "per_class": per_class,
            "valid_per_class": valid_per_class,
            "test_per_class": test_per_class,
            "teacher_per_class": 1,
            "size": size,
            "typefaces": typefaces,
            "rotation": rotation,
            "shift": shift,
            "scale": 0.0,
            "contrast": contrast,
            "noise": noise,
            "magnify": magnify,
        }

    def info(self) -> dict[str, Any]:
        columns = {
            "image": Column((1, self.style["size"], self.style["size"])),
            "label": Column((), torch.int64),
            "task": Column((), torch.int64),
        }
        split = {n: DataInfo(columns, self.classes, count * self.classes) for n, count in self.counts.items()}
        return {"tasks": [split] * self.tasks}

    def load(self) -> dict[str, Any]:
        info = self.info()["tasks"][0]
        order = torch.randperm(len(CHARACTERS), generator=torch.Generator().manual_seed(self.seed))
        found = []
        for task, own in enumerate(order[: self.tasks * self.classes].view(self.tasks, -1).tolist()):
            characters = "".join(CHARACTERS[i] for i in own)
            drawn = Glyphs(characters=characters, seed=self.seed * self.tasks + task, **self.style).load()
            found.append({n: self._told(drawn[n].rows(), task, info[n]) for n in info})
        return {"tasks": found}

    def _told(self, rows: dict[str, Tensor], task: int, info: DataInfo) -> MemoryDataset:
        kept = {name: rows[name] for name in ("image", "label")}
        return MemoryDataset({**kept, "task": torch.full((len(rows["label"]),), task)}, info)


@data(name="split_cifar100", items={"tasks": "tasks"})
class SplitCifar100:
    """CIFAR-100 in ``tasks`` of equally many classes, in a random order of classes by ``seed``.

    Labels are numbers in the task (``labels: task``) or the set's own, one numbering for all tasks (``all``). With ``superclass``
    they are those of the 20 superclasses, and each task has other members of all of them: tasks bring domains instead of classes.
    Reads torchvision's copy under ``root``. Columns: ``image`` [3, 32, 32] in [0, 1], ``label`` and ``task`` (int64).
    Raises ``DataError`` if the copy is not there, or 100 classes (of superclasses, their 5 members) do not divide.

    >>> known = data.split_cifar100(root="nowhere", tasks=20).info()["tasks"]
    >>> len(known), known[0]["train"].classes, known[0]["train"].size
    (20, 5, 2500)
    >>> data.split_cifar100(root="nowhere", tasks=5, labels="superclass").info()["tasks"][0]["train"].class_names[:2]
    ('aquatic_mammals', 'fish')
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        tasks: Count = 10,
        labels: Literal["task", "all", "superclass"] = "task",
        seed: Unsigned = 0,
    ) -> None:
        if (5 if labels == "superclass" else 100) % tasks:
            many = "5 members of each superclass" if labels == "superclass" else "100 classes"
            raise DataError(f"{many} do not divide into {tasks} tasks", key="data.tasks")
        self.root, self.tasks, self.labels, self.seed = Path(root).expanduser(), tasks, labels, seed

    def info(self) -> dict[str, Any]:
        columns = {
            "image": Column((3, 32, 32)),
            "label": Column((), torch.int64),
            "task": Column((), torch.int64),
        }
        names = {"task": None, "all": FINE, "superclass": SUPERCLASSES}[self.labels]
        own = 100 // self.tasks
        rows = {"train": 500 * own, "test": 100 * own}
        classes = len(names) if names else own
        return {"tasks": [{n: DataInfo(columns, classes, count, names) for n, count in rows.items()}] * self.tasks}

    def load(self) -> dict[str, Any]:
        from torchvision.datasets import CIFAR100

        try:
            raw = {n: CIFAR100(str(self.root), train=n == "train", download=False) for n in ("train", "test")}
        except RuntimeError as error:
            raise DataError(
                f"CIFAR-100 is not under {self.root}: put cifar-100-python there ({error})", key="data.root"
            ) from error
        info = self.info()["tasks"][0]
        return {"tasks": [{n: self._rows(raw[n], own, t, info[n]) for n in raw} for t, own in enumerate(self._dealt())]}

    def _dealt(self) -> Tensor:
        """The classes of each task: [tasks, classes of a task]."""
        order = torch.randperm(100, generator=torch.Generator().manual_seed(self.seed))
        if self.labels == "superclass":  # of each superclass the first members for the first task, and so on
            order = order[torch.tensor(SUPERCLASS_OF)[order].argsort(stable=True)]
            return order.view(20, self.tasks, -1).transpose(0, 1).reshape(self.tasks, -1)
        return order.view(self.tasks, -1)

    def _rows(self, raw: Any, classes: Tensor, task: int, info: DataInfo) -> MemoryDataset:
        label = torch.tensor(raw.targets)
        rows = torch.isin(label, classes).nonzero().squeeze(1)
        image = torch.from_numpy(raw.data)[rows].permute(0, 3, 1, 2).float().div(255)
        label = label[rows]
        if self.labels == "task":
            label = (label[:, None] == classes[None, :]).int().argmax(1)
        elif self.labels == "superclass":
            label = torch.tensor(SUPERCLASS_OF)[label]
        return MemoryDataset({"image": image, "label": label, "task": torch.full((len(rows),), task)}, info)
