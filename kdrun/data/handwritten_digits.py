"""Scikit-learn's handwritten digits: real handwriting that needs no download."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Unsigned

__all__ = ["Digits"]


@data(name="digits", fields=("train", "valid", "test", "shifted", "all"), held_out=("test", "shifted", "all"))
class Digits:
    """1797 grey images of 8×8 pixels in 10 classes; a fixed stratified split into 997, 200 and 600 rows.

    The images are scikit-learn's. The split ``all`` holds every row once, in its order: a target domain without labels
    to hold out. ``size`` resamples the images to that side (bilinear). ``canvas`` then centres them in a black square
    of that side, and the split ``shifted`` holds the test images moved by up to ``shift`` pixels along each axis (drawn
    once, by ``seed``; cyclic, so nothing is lost). ``limit`` keeps the first so many training rows. Columns: ``image``
    [1, canvas, canvas] in [0, 1], ``label`` (int64). Raises ``DataError`` for a canvas smaller than the images.

    >>> splits = data.digits(limit=100).load()
    >>> {name: len(rows) for name, rows in splits.items()}
    {'train': 100, 'valid': 200, 'test': 600, 'all': 1797, 'shifted': 600}
    >>> splits["train"].rows()["image"].shape
    torch.Size([100, 1, 8, 8])
    """

    def __init__(
        self,
        *,
        size: Count = 8,
        canvas: Count | None = None,
        shift: Unsigned = 0,
        seed: Unsigned = 0,
        limit: Count | None = None,
    ) -> None:
        self.size, self.canvas, self.shift, self.seed, self.limit = size, canvas or size, shift, seed, limit

    def info(self) -> dict[str, DataInfo]:
        columns = {"image": Column((1, self.canvas, self.canvas)), "label": Column((), torch.int64)}
        train = min(997, self.limit or 997)
        rows = {"train": train, "valid": 200, "test": 600, "shifted": 600, "all": 1797}
        return {name: DataInfo(columns, 10, count) for name, count in rows.items()}

    def load(self) -> dict[str, MemoryDataset]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        rest, test = train_test_split(range(len(labels)), test_size=600, stratify=labels, random_state=0)
        train, valid = train_test_split(rest, test_size=200, stratify=labels[rest], random_state=0)
        image = self._placed(torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16.0)
        label = torch.tensor(labels, dtype=torch.int64)
        info = self.info()
        chosen = {"train": train[: self.limit], "valid": valid, "test": test, "all": list(range(len(labels)))}
        splits = {n: MemoryDataset({"image": image[i], "label": label[i]}, info[n]) for n, i in chosen.items()}
        splits["shifted"] = MemoryDataset({"image": self._moved(image[test]), "label": label[test]}, info["shifted"])
        return splits

    def _placed(self, image: Tensor) -> Tensor:
        if self.canvas < self.size:
            raise DataError(f"a canvas of {self.canvas} pixels does not hold images of {self.size}", key="data.canvas")
        if self.size != 8:
            image = F.interpolate(image, size=(self.size, self.size), mode="bilinear", align_corners=False)
        before = (self.canvas - self.size) // 2
        after = self.canvas - self.size - before
        return F.pad(image, (before, after, before, after)) if self.canvas > self.size else image

    def _moved(self, image: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        moves = torch.randint(-self.shift, self.shift + 1, (len(image), 2), generator=generator).tolist()
        return torch.stack([one.roll(move, (1, 2)) for one, move in zip(image, moves, strict=True)])
