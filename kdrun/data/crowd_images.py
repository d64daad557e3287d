"""Crowds and their density maps: rendered with known head counts, or photographs with annotated heads."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, FileDataset, MemoryDataset
from kdrun.data.density_maps import points_to_density
from kdrun.data.fingerprints import fingerprint_of, share_of
from kdrun.data.head_annotations import CrowdReader, annotation_of
from kdrun.data.images import IMAGENET_MEAN, IMAGENET_STD, standardized
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, PathToRead, Positive, Unsigned

__all__ = ["AnnotatedCrowds", "Crowds"]


def _columns(height: int, width: int, stride: int) -> dict[str, Column]:
    for name, side in (("height", height), ("width", width)):
        if side % stride:
            raise DataError(f"the {name} must be a multiple of the stride {stride}, got {side}", key="data")
    density = Column((1, height // stride, width // stride))
    return {"image": Column((3, height, width)), "density": density, "count": Column(())}


@data(name="crowds", fields=("train", "valid", "test"))
class Crowds:
    """Rendered crowds: shaded heads around a few centres, growing towards the viewer, before crops of two photographs.

    Square pictures of ``size`` pixels with ``fewest`` to ``most`` heads of 1.5 to 4 pixels' radius, and up to seven
    squares that are none; ``train``, ``valid`` and ``test`` are numbers of rows. Columns: ``image`` [3, size, size],
    normalised by ImageNet's mean and deviation; ``density`` [1, size/stride, size/stride] with a Gaussian of
    ``deviation`` pixels a head; ``count``, the number of heads, which is the density's sum. The draw depends on
    ``seed`` alone; the splits are drawn independently. Raises ``DataError`` if ``size`` is no multiple of ``stride``.

    >>> rows = data.crowds(size=32, train=2, valid=1, test=1).load()["train"].rows()
    >>> rows["density"].shape, torch.allclose(rows["density"].sum((1, 2, 3)), rows["count"])
    (torch.Size([2, 1, 4, 4]), True)
    """

    def __init__(
        self,
        *,
        size: Count = 96,
        train: Count = 240,
        valid: Count = 80,
        test: Count = 80,
        fewest: Unsigned = 5,
        most: Count = 60,
        deviation: Positive = 2.0,
        stride: Count = 8,
        seed: Unsigned = 0,
    ) -> None:
        if fewest > most:
            raise DataError(f"a picture cannot have {fewest} heads at least and {most} at most", key="data.fewest")
        self.size, self.fewest, self.most, self.deviation, self.stride = size, fewest, most, deviation, stride
        self.seed, self.counts = seed, {"train": train, "valid": valid, "test": test}

    def info(self) -> dict[str, DataInfo]:
        columns = _columns(self.size, self.size, self.stride)
        return {name: DataInfo(columns, size=count) for name, count in self.counts.items()}

    def load(self) -> dict[str, MemoryDataset]:
        from sklearn.datasets import load_sample_images

        photographs = [torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 for i in load_sample_images().images]
        info = self.info()
        return {
            name: self._split(photographs, count, info[name], number)
            for number, (name, count) in enumerate(self.counts.items())
        }

    def _split(self, photographs: list[Tensor], count: int, info: DataInfo, number: int) -> MemoryDataset:
        draw = _Draw(torch.Generator().manual_seed(self.seed * 1000 + number))
        rows = []
        for _ in range(count):
            points = _clustered(draw.whole(self.fewest, self.most), draw) * self.size
            picture = _with_heads(_background(photographs, self.size, draw), points, draw)
            deviation = torch.full((len(points),), self.deviation)
            density = points_to_density(points, self.size, self.size, deviation, stride=self.stride)
            rows.append((standardized(picture, IMAGENET_MEAN, IMAGENET_STD), density, torch.tensor(float(len(points)))))
        columns = {
            n: torch.stack(v) for n, v in zip(("image", "density", "count"), zip(*rows, strict=True), strict=True)
        }
        return MemoryDataset(columns, info)


class _Draw:
    """Numbers from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def number(self, low: float, high: float) -> float:
        return float(self.uniform(low=low, high=high))

    def whole(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))


def _clustered(count: int, draw: _Draw) -> Tensor:
    """Points (x, y) in the unit square: four of five around 2 to 5 centres, the others anywhere."""
    centres = draw.uniform(draw.whole(2, 5), 2)
    spread = draw.uniform(len(centres), 1, low=0.04, high=0.16)
    own = (draw.uniform(count) * len(centres)).long()
    near = centres[own] + spread[own] * draw.normal(count, 2)
    apart = draw.uniform(count, 1) < 0.2
    points = torch.where(apart, draw.uniform(count, 2), near)
    # Mirrored, not clamped, at a margin: a heap of heads on the border would be no crowd.
    margin = 0.03
    folded = (points - margin).remainder(2 * (1 - 2 * margin))
    return margin + torch.minimum(folded, 2 * (1 - 2 * margin) - folded)


def _background(photographs: list[Tensor], size: int, draw: _Draw) -> Tensor:
    """A crop of a photograph with changed colours and light, and squares of a head's size: [3, size, size]."""
    photograph = photographs[draw.whole(0, len(photographs) - 1)]
    side = draw.whole(min(size, *photograph.shape[1:]), min(photograph.shape[1:]))
    top, left = (draw.whole(0, full - side) for full in photograph.shape[1:])
    crop = photograph[None, :, top : top + side, left : left + side]
    picture = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True)[0]
    picture = picture * draw.uniform(3, 1, 1, low=0.7, high=1.3) * draw.number(0.5, 1.1) + draw.number(-0.1, 0.2)
    for _ in range(draw.whole(0, 7)):
        wide = min(draw.whole(3, 7), size)
        x, y = draw.whole(0, size - wide), draw.whole(0, size - wide)
        picture[:, y : y + wide, x : x + wide] = draw.uniform(3, 1, 1)
    return picture.clamp(0, 1)


def _with_heads(picture: Tensor, points: Tensor, draw: _Draw) -> Tensor:
    """Draw shaded discs at ``points`` [count, 2] in pixels; the lower in the picture, the larger and the nearer."""
    size = picture.shape[1]
    points = points[points[:, 1].argsort()]
    radius = (1.5 + 2.5 * points[:, 1] / size).view(-1, 1, 1)
    place = torch.arange(size) + 0.5
    x, y = place.view(1, 1, -1) - points[:, 0].view(-1, 1, 1), place.view(1, -1, 1) - points[:, 1].view(-1, 1, 1)
    cover = (radius + 0.5 - (x.square() + y.square()).sqrt()).clamp(0, 1)
    light = (0.75 - 0.35 * (x + y) / (radius + 1)).clamp(0.2, 1.0)
    skin = torch.tensor([0.75, 0.58, 0.48]).view(1, 3, 1, 1) * draw.uniform(len(points), 3, 1, 1, low=0.5, high=1.5)
    colour = (skin * light[:, None]).clamp(0, 1)
    # What is seen of each disc: its own cover times what all nearer ones leave open.
    open_above = torch.cat([(1 - cover).flip(0).cumprod(0).flip(0), torch.ones(1, size, size)])
    seen = (cover * open_above[1:])[:, None]
    picture = picture * open_above[0] + (seen * colour).sum(0)
    return (picture + 0.02 * draw.normal(*picture.shape)).clamp(0, 1)


ENDINGS = (".jpg", ".jpeg", ".png")
SPLITS = {"train": ("train", "train_data", "Train"), "valid": ("valid", "val"), "test": ("test", "test_data", "Test")}
"""Names of folders, the first that exists: plain ones, ShanghaiTech's, UCF-QNRF's."""


@data(name="annotated_crowds", fields=("train", "valid", "test"), fingerprint=True)
class AnnotatedCrowds:
    """Photographs with annotated heads: ShanghaiTech and UCF-QNRF as published, or with JSON files.

    ``root/train`` (or ``train_data``, ``Train``) and ``root/test`` alike, with pictures there or in ``images``. The
    heads of ``NAME.jpg`` lie beside it as ``NAME.json``, ``[[x, y], ...]`` in pixels, or ``NAME_ann.mat`` (UCF-QNRF),
    or in ``../ground_truth/GT_NAME.mat`` (ShanghaiTech). Without ``root/valid``, ``valid_share`` of the training
    pictures is set aside by a hash of the name.

    Columns: ``image`` [3, height, width], fitted into that size, padded by ImageNet's mean and normalised; ``density``
    [1, height/stride, width/stride] with Gaussians of ``factor`` times the summed distances to the three nearest heads,
    or of ``deviation`` pixels; ``count``. Raises ``DataError`` for missing pictures or annotations.

    >>> data.annotated_crowds(root="nowhere", height=576, width=864).info()["train"].columns["density"].shape
    (1, 72, 108)
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        height: Count = 576,
        width: Count = 864,
        factor: Positive = 0.1,
        deviation: Positive | None = None,
        valid_share: Fraction = 0.1,
        stride: Count = 8,
    ) -> None:
        self.root, self.height, self.width, self.stride = Path(root).expanduser(), height, width, stride
        self.factor, self.deviation, self.valid_share = factor, deviation, valid_share

    def info(self) -> dict[str, DataInfo]:
        columns = _columns(self.height, self.width, self.stride)
        files = self._listing() if self.root.is_dir() else {}
        if not files:
            return {name: DataInfo(columns) for name in SPLITS}
        return {name: DataInfo(columns, size=len(pictures)) for name, pictures in files.items()}

    def fingerprint(self) -> str:
        """A hash of the name, size and time of change of every picture and annotation."""
        files = sorted(self.root.rglob("*")) if self.root.is_dir() else []
        return fingerprint_of((p for p in files if p.suffix.lower() in (*ENDINGS, ".json", ".mat")), self.root)

    def load(self) -> dict[str, FileDataset]:
        info = self.info()
        sets = {}
        for name, files in self._listing().items():
            reader = CrowdReader(files, self.height, self.width, self.factor, self.deviation, self.stride)
            sets[name] = FileDataset(reader, len(files), info[name])
            for path in files:
                annotation_of(path)
        return sets

    def _listing(self) -> dict[str, list[Path]]:
        found = {name: self._pictures(name) for name in SPLITS}
        for name in ("train", "test"):
            if not found[name]:
                raise DataError(
                    f"no pictures for {name} in {self.root}: expected {self.root}/{name}/NAME.jpg with NAME.json beside "
                    f"it, or {self.root}/{name}_data/images/NAME.jpg with ../ground_truth/GT_NAME.mat (ShanghaiTech)",
                    key="data.root",
                )
        if not found["valid"]:
            held = [p for p in found["train"] if share_of(p.name) < self.valid_share]
            found["train"], found["valid"] = [p for p in found["train"] if p not in set(held)], held
        return {name: pictures for name, pictures in found.items() if pictures}

    def _pictures(self, split: str) -> list[Path]:
        folder = next((self.root / n for n in SPLITS[split] if (self.root / n).is_dir()), None)
        if folder is None:
            return []
        inner = folder / "images" if (folder / "images").is_dir() else folder
        return sorted(p for p in inner.iterdir() if p.suffix.lower() in ENDINGS)
