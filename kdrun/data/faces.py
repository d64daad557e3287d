"""CelebA by identity: some people are private, and the faces of others are public."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, FileDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, PathToRead

__all__ = ["CelebaIdentities"]


@data(name="celeba_identities", fields=("train", "test", "public"))
class CelebaIdentities:
    """Aligned faces of CelebA (Liu et al., 2015), cropped and resized, from torchvision's folder under ``root``.

    The ``identities`` people with most pictures are the classes of ``train`` and ``test`` (a ``test_share`` of each
    one's pictures); ``public`` has ``public_rows`` pictures of other people, its label always 0. Columns: ``image`` [3,
    size, size] in [0, 1], ``label`` (int64). Raises ``DataError`` if the data are not there.

    >>> known = data.celeba_identities(root="nowhere", size=64, identities=500).info()["train"]
    >>> known.classes, known.columns["image"].shape
    (500, (3, 64, 64))
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        size: Count = 64,
        identities: Count = 1000,
        public_rows: Count = 30000,
        test_share: Fraction = 0.1,
    ) -> None:
        self.root, self.size, self.identities = Path(root).expanduser(), size, identities
        self.public_rows, self.test_share = public_rows, test_share

    def info(self) -> dict[str, DataInfo]:
        columns = {"image": Column((3, self.size, self.size)), "label": Column((), torch.int64)}
        private = DataInfo(columns, self.identities)
        return {"train": private, "test": private, "public": DataInfo(columns, self.identities, self.public_rows)}

    def load(self) -> dict[str, FileDataset]:
        from torchvision.datasets import CelebA
        from torchvision.transforms.functional import center_crop, resize, to_tensor

        try:
            faces: Any = CelebA(str(self.root), split="all", target_type="identity", download=False)
        except RuntimeError as error:
            raise DataError(
                f"CelebA is not under {self.root}: put its folder celeba there ({error})", key="data.root"
            ) from error
        person = faces.identity.squeeze(1)
        chosen = torch.bincount(person).argsort(descending=True, stable=True)[: self.identities]
        label = torch.full((int(person.max()) + 1,), -1)
        label[chosen] = torch.arange(self.identities)
        mine = label[person]

        def decode(position: int) -> dict[str, Tensor]:
            image = resize(center_crop(faces[position][0], [128, 128]), [self.size, self.size])
            return {"image": to_tensor(image), "label": mine[position].clamp_min(0)}

        rows: dict[str, list[int]] = {"train": [], "test": []}
        for one in range(self.identities):
            pictures = (mine == one).nonzero().squeeze(1).tolist()
            cut = max(round(self.test_share * len(pictures)), 1)
            rows["test"] += pictures[:cut]
            rows["train"] += pictures[cut:]
        rows["public"] = (mine < 0).nonzero().squeeze(1)[: self.public_rows].tolist()
        info = self.info()
        return {n: FileDataset(decode, 0, info[n], positions=torch.tensor(p)) for n, p in rows.items()}
