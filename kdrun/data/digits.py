"""Scikit-learn's handwritten digits: real handwriting that needs no download."""

from __future__ import annotations

import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.registry import data
from kdrun.types import Count

__all__ = ["Digits"]


@data(name="digits", fields=("train", "valid", "test"))
class Digits:
    """1797 grey images of 8×8 pixels in 10 classes; a fixed stratified split into 997, 200 and 600 rows."""

    def __init__(self, *, limit: Count | None = None) -> None:
        self.limit = limit

    def info(self) -> dict[str, DataInfo]:
        columns = {"image": Column((1, 8, 8)), "label": Column((), torch.int64)}
        train = min(997, self.limit or 997)
        return {n: DataInfo(columns, 10, s) for n, s in (("train", train), ("valid", 200), ("test", 600))}

    def load(self) -> dict[str, MemoryDataset]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        rest, test = train_test_split(range(len(labels)), test_size=600, stratify=labels, random_state=0)
        train, valid = train_test_split(rest, test_size=200, stratify=labels[rest], random_state=0)
        image = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16.0
        label = torch.tensor(labels, dtype=torch.int64)
        info = self.info()
        chosen = {"train": train[: self.limit], "valid": valid, "test": test}
        return {n: MemoryDataset({"image": image[i], "label": label[i]}, info[n]) for n, i in chosen.items()}
