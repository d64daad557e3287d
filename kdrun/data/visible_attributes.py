"""Scikit-learn's handwritten digits with several labels each: what holds of the number that is written."""

from __future__ import annotations

from dataclasses import replace

import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.handwritten_digits import Digits
from kdrun.registry import data
from kdrun.types import Count

__all__ = ["DigitAttributes"]

ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "square": (0, 1, 4, 9),
    "large": (5, 6, 7, 8, 9),
    "loop": (0, 6, 8, 9),
}
"""The digits of which each label holds."""


@data(name="digit_attributes", fields=("train", "valid", "test"))
class DigitAttributes:
    """The images and splits of ``digits`` with five labels: even, prime, a square, 5 or more, written with a loop.

    ``size`` resamples the images, ``limit`` keeps the first so many training rows. Columns: ``image`` [1, size, size] in
    [0, 1], ``label`` [5] (float32), 1 where a label holds and else 0.

    >>> rows = data.digit_attributes(limit=8).load()["train"]
    >>> rows.rows()["label"].shape, rows.info.class_names
    (torch.Size([8, 5]), ('even', 'prime', 'square', 'large', 'loop'))
    """

    def __init__(self, *, size: Count = 8, limit: Count | None = None) -> None:
        self.digits = Digits(size=size, limit=limit)

    def info(self) -> dict[str, DataInfo]:
        labels = Column((len(ATTRIBUTES),))
        return {
            split: replace(
                known,
                columns={**known.columns, "label": labels},
                classes=len(ATTRIBUTES),
                class_names=tuple(ATTRIBUTES),
            )
            for split, known in self.digits.info().items()
            if split in ("train", "valid", "test")
        }

    def load(self) -> dict[str, MemoryDataset]:
        table = torch.tensor([[float(digit in held) for held in ATTRIBUTES.values()] for digit in range(10)])
        found = self.digits.load()
        return {
            split: MemoryDataset(
                {"image": found[split].column("image"), "label": table[found[split].column("label")]}, info
            )
            for split, info in self.info().items()
        }
