"""Data in domains: the same classes under fixed, different conditions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, FileDataset, MemoryDataset
from kdrun.data.glyph_images import rendered_masters, typefaces
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, NonNegative, PathToRead, Unsigned

__all__ = ["DomainGlyphs", "Wilds"]


@data(name="domain_glyphs", fields=("train",), items={"valid": "valid_domains", "test": "test_domains"})
class DomainGlyphs:
    """Grey images of characters in domains, each with its own typeface, rotation, shear, contrast, blur and polarity.

    ``train`` joins the ``source_domains``; ``valid.0`` … and ``test.0`` … are one domain each, in typefaces that
    ``train`` never shows; each domain has ``per_domain`` rows. A domain's conditions are drawn once, by ``seed``,
    turned by up to ``rotation`` degrees; its images differ by small shifts and ``noise`` (standard deviation). Columns:
    ``image`` [1, size, size], ``label`` (the place in ``characters``) and ``domain`` (int64).

    >>> splits = data.domain_glyphs(source_domains=3, valid_domains=1, test_domains=2, per_domain=10).load()
    >>> len(splits["train"]), len(splits["test"]), splits["train"].rows()["domain"].unique()
    (30, 2, tensor([0, 1, 2]))
    """

    def __init__(
        self,
        *,
        characters: str = "0123456789",
        size: Count = 16,
        source_domains: Count = 12,
        valid_domains: Count = 2,
        test_domains: Count = 6,
        per_domain: Count = 150,
        rotation: NonNegative = 20.0,
        noise: NonNegative = 0.1,
        seed: Unsigned = 0,
    ) -> None:
        self.characters, self.size, self.per_domain = characters, size, per_domain
        self.counts = (source_domains, valid_domains, test_domains)
        self.rotation, self.noise, self.seed = rotation, noise, seed

    def info(self) -> dict[str, Any]:
        columns = {
            "image": Column((1, self.size, self.size)),
            "label": Column((), torch.int64),
            "domain": Column((), torch.int64),
        }
        names, classes = tuple(self.characters), len(self.characters)
        source, valid, test = self.counts
        one = DataInfo(columns, classes, self.per_domain, names)
        return {
            "train": DataInfo(columns, classes, source * self.per_domain, names),
            "valid": [one] * valid,
            "test": [one] * test,
        }

    def load(self) -> dict[str, Any]:
        source, valid, test = self.counts
        faces = list(typefaces())
        half = max(len(faces) // 2, 1)
        domains = [
            self._domain(number, faces[:half] if number < source else faces[half:])
            for number in range(source + valid + test)
        ]
        info = self.info()
        joined = {name: torch.cat([d[name] for d in domains[:source]]) for name in domains[0]}
        held = [MemoryDataset(columns, info["valid"][0]) for columns in domains[source:]]
        return {"train": MemoryDataset(joined, info["train"]), "valid": held[:valid], "test": held[valid:]}

    def _domain(self, number: int, faces: list[str]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 * self.seed + number)

        def uniform(low: float, high: float, rows: int = 1) -> Tensor:
            return torch.rand(rows, generator=generator) * (high - low) + low

        face = faces[int(torch.randint(len(faces), (1,), generator=generator))]
        angle, shear = math.radians(self.rotation) * uniform(-1, 1), uniform(-0.3, 0.3)
        contrast, blurred, inverted = uniform(0.4, 1.0), bool(uniform(0, 1) < 0.5), bool(uniform(0, 1) < 0.3)
        rows = self.per_domain
        label = torch.arange(rows) % len(self.characters)
        label = label[torch.randperm(rows, generator=generator)]
        masters = rendered_masters(self.characters, (face,))[0, label]
        cos, sin = angle.cos().expand(rows), angle.sin().expand(rows)
        x, y = uniform(-0.1, 0.1, rows), uniform(-0.1, 0.1, rows)
        matrix = torch.stack([cos + shear * sin, shear * cos - sin, x, sin, cos, y], 1).view(-1, 2, 3)
        grid = F.affine_grid(matrix, [rows, 1, 2 * self.size, 2 * self.size], align_corners=False)
        image = F.avg_pool2d(F.grid_sample(masters[:, None].float().div(255), grid, align_corners=False), 2)
        if blurred:
            image = F.avg_pool2d(image, 3, stride=1, padding=1)
        image = contrast * image
        image = 1 - image if inverted else image
        image = image + self.noise * torch.randn(image.shape, generator=generator)
        return {"image": image, "label": label, "domain": torch.full((rows,), number)}


WILDS: dict[str, dict[str, Any]] = {
    "fmow": {"classes": 62, "size": 224, "train": 76863, "domain": "year", "test_domains": 5, "test_field": "region"},
    "iwildcam": {"classes": 182, "size": 448, "train": 129809, "domain": "location", "test_domains": 48},
    "camelyon17": {"classes": 2, "size": 96, "train": 302436, "domain": "hospital", "test_domains": 1},
}


@data(
    name="wilds",
    extra="wilds",
    fields=("train",),
    items={"valid": "valid_domains", "test": "test_domains"},
    requires=("wilds",),
)
class Wilds:
    """An image set of WILDS v2 (Koh et al., 2021) from the folder ``root``, as ``wilds.get_dataset`` leaves it there.

    ``name`` is ``fmow``, ``iwildcam`` or ``camelyon17``. ``train`` has the column ``domain`` (int64: year, location or
    hospital) beside ``image`` [3, size, size] in [0, 1] and ``label``; ``valid`` and ``test`` are the
    out-of-distribution splits cut by domain (``fmow``: by region), the first so many. Nothing is downloaded here.
    Raises ``DataError`` for an unknown name or a folder without the data.

    >>> known = data.wilds(name="camelyon17", root="nowhere", test_domains=1).info()
    >>> known["train"].size, known["train"].classes, len(known["test"])
    (302436, 2, 1)
    """

    def __init__(self, *, name: str, root: PathToRead, valid_domains: Count = 5, test_domains: Count = 5) -> None:
        if name not in WILDS:
            raise DataError(f"of WILDS there are {', '.join(WILDS)} here, not '{name}'", key="data.name")
        self.name, self.root, self.facts = name, Path(root).expanduser(), WILDS[name]
        self.counts = {"valid": valid_domains, "test": test_domains}

    def info(self) -> dict[str, Any]:
        size = int(self.facts["size"])
        columns = {
            "image": Column((3, size, size)),
            "label": Column((), torch.int64),
            "domain": Column((), torch.int64),
        }
        classes = int(self.facts["classes"])
        one = DataInfo(columns, classes)
        train = DataInfo(columns, classes, int(self.facts["train"]))
        return {"train": train, **{name: [one] * count for name, count in self.counts.items()}}

    def load(self) -> dict[str, Any]:
        from wilds import get_dataset

        try:
            whole = get_dataset(dataset=self.name, root_dir=str(self.root), download=False)
        except (FileNotFoundError, ValueError) as error:
            raise DataError(
                f"WILDS '{self.name}' is not under {self.root} ({error}); fetch it with "
                f"wilds.get_dataset('{self.name}', root_dir=..., download=True)",
                key="data.root",
            ) from error
        info = self.info()
        train = self._rows(whole, "train", str(self.facts["domain"]), info["train"])
        field = str(self.facts.get("test_field", self.facts["domain"]))
        splits: dict[str, Any] = {"train": train}
        for name, source in (("valid", "val"), ("test", "test")):
            rows = self._rows(whole, source, field, info[name][0])
            domain = rows.extra["domain"]
            values = domain.unique()[: self.counts[name]]
            splits[name] = [rows.select((domain == value).nonzero().squeeze(1)) for value in values]
        return splits

    def _rows(self, whole: Any, split: str, field: str, info: DataInfo) -> FileDataset:
        from torchvision.transforms.functional import resize, to_tensor

        subset = whole.get_subset(split)
        side = info.columns["image"].shape[-1]
        column = whole.metadata_fields.index(field)

        def decode(position: int) -> dict[str, Tensor]:
            image, label, _ = subset[position]
            return {"image": to_tensor(resize(image, [side, side])), "label": torch.as_tensor(label)}

        extra = {"domain": subset.metadata_array[:, column].long()}
        return FileDataset(decode, len(subset), info, extra=extra)
