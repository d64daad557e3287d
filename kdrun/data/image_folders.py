"""Images in class folders."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, FileDataset
from kdrun.data.fingerprints import fingerprint_of, share_of
from kdrun.data.images import IMAGENET_MEAN, IMAGENET_STD, decode, standardized
from kdrun.errors import DataError
from kdrun.models.pretraining import statistics_of
from kdrun.registry import data
from kdrun.types import Count, Fraction, PathToRead, Unsigned

__all__ = ["Folder", "ImageNet", "class_folders", "list_images"]

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
FOLDERS = {"train": ("train",), "valid": ("valid", "val", "validation", "dev"), "test": ("test",)}
"""The folders that hold each split."""


def class_folders(root: Path) -> list[Path]:
    """The sub-folders of ``root``, sorted by name."""
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def list_images(folder: Path) -> list[Path]:
    """All images below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)


class _Reader:
    """Decodes row ``i`` of a list of files; picklable, for worker processes."""

    def __init__(
        self,
        files: list[Path],
        labels: list[int],
        size: int,
        resize: int,
        channels: int,
        mean: list[float],
        std: list[float],
        background: float,
    ) -> None:
        self.files, self.labels = files, labels
        self.read = functools.partial(decode, size=size, resize=resize, channels=channels, background=background)
        self.mean, self.std = mean, std

    def __call__(self, row: int) -> dict[str, Tensor]:
        image = standardized(self.read(self.files[row]), self.mean, self.std)
        return {"image": image, "label": torch.tensor(self.labels[row])}


@data(name="folder", fields=("train", "valid", "test"), fingerprint=True)
class Folder:
    """Images as ``root/train/CLASS/*.png`` (and ``valid``, ``val``, ``validation`` or ``dev``, and ``test``), or as ``root/CLASS/*.png``, split here.

    A split whose folder is missing or holds no image is not there. Without split folders, ``valid_share`` and
    ``test_share`` of each class are set aside, by a hash of the file name, so that a file stays in its split when
    others are added. Columns: ``image`` [channels, size, size], the shorter side
    brought to ``resize`` (default: ``size``), the centre cut out, normalised by ``mean`` and ``std`` a channel, or as a model of timm or torchvision was pretrained if
    ``normalize`` is its specification (a configuration names it: ``normalize: teacher``);
    ``label`` (int64), folders in order of their names. Images are turned as their EXIF orientation says; 16-bit greys
    count to 65535, floats are in [0, 1]; ``background`` is the grey, in [0, 1], that shows through what is transparent.
    ``classes`` is needed only to plan without the data. Raises
    ``DataError`` for missing or broken files.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from PIL import Image
    >>> root = Path(mkdtemp())
    >>> for i in range(20):
    ...     (root / "ab"[i % 2]).mkdir(exist_ok=True)
    ...     Image.new("RGB", (40, 30)).save(root / "ab"[i % 2] / f"{i}.png")
    >>> splits = data.folder(root=str(root), size=24).load()
    >>> sum(len(rows) for rows in splits.values()), splits["train"].rows()["image"].shape[1:]
    (20, torch.Size([3, 24, 24]))
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        size: Count = 64,
        resize: Count | None = None,
        channels: Count = 3,
        mean: list[float] = (0.5, 0.5, 0.5),  # type: ignore[assignment]
        std: list[float] = (0.25, 0.25, 0.25),  # type: ignore[assignment]
        valid_share: Fraction = 0.1,
        test_share: Fraction = 0.2,
        normalize: dict[str, Any] | None = None,
        background: Fraction = 1.0,
        classes: Count | None = None,
    ) -> None:
        if normalize is not None:
            mean, std = statistics_of(normalize, key="data.normalize")
        self.root = Path(root).expanduser()
        self.size, self.resize, self.channels = size, resize or size, channels
        self.mean, self.std = mean[:channels], std[:channels]
        self.shares = {"valid": valid_share, "test": test_share}
        self.background, self.classes = background, classes

    def info(self) -> dict[str, DataInfo]:
        columns = {"image": Column((self.channels, self.size, self.size)), "label": Column((), torch.int64)}
        if not self.root.is_dir() and self.classes is not None:
            return {split: DataInfo(columns, self.classes) for split in FOLDERS}
        names, files = self._listing()
        return {s: DataInfo(columns, len(names), len(f), tuple(names)) for s, f in files.items()}

    def fingerprint(self) -> str:
        """A hash of every file's name, size and time of change."""
        return fingerprint_of(list_images(self.root) if self.root.is_dir() else [], self.root)

    def load(self) -> dict[str, FileDataset]:
        info = self.info()
        _, files = self._listing()
        sets = {}
        for split, rows in files.items():
            paths, labels = [p for p, _ in rows], [label for _, label in rows]
            reader = _Reader(paths, labels, self.size, self.resize, self.channels, self.mean, self.std, self.background)
            sets[split] = FileDataset(reader, len(rows), info[split])
        for data_set in sets.values():
            data_set.decode(0)
        return sets

    def _listing(self) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
        """Class names, and per split the files with their labels."""
        if not self.root.is_dir():
            raise DataError(
                f"the data folder {self.root} does not exist: expected {self.root}/train/CLASS/*.png", key="data.root"
            )
        split_folders = self._split_folders()
        if split_folders and "train" not in split_folders:
            raise DataError(
                f"the data folder {self.root} has {', '.join(split_folders)} but no train folder", key="data.root"
            )
        base = split_folders.get("train", self.root)
        names = [p.name for p in class_folders(base)]
        if not names:
            raise DataError(
                f"the data folder {base} has no class folders: expected {base}/CLASS/*.png", key="data.root"
            )
        files = self._from_folders(split_folders, names) if split_folders else self._from_shares(names)
        if not files["train"]:
            raise DataError(f"the data folder {base} holds no images ({', '.join(sorted(ENDINGS))})", key="data.root")
        return names, {split: found for split, found in files.items() if found}

    def _split_folders(self) -> dict[str, Path]:
        found = {}
        for split, names in FOLDERS.items():
            there = [self.root / name for name in names if (self.root / name).is_dir()]
            if len(there) > 1:
                raise DataError(
                    f"both {' and '.join(str(p) for p in there)} would be the split {split}: keep one", key="data.root"
                )
            if there:
                found[split] = there[0]
        return found

    def _from_folders(self, folders: dict[str, Path], names: list[str]) -> dict[str, list[tuple[Path, int]]]:
        files = {}
        for split, folder in folders.items():
            unknown = [p.name for p in class_folders(folder) if p.name not in names]
            if unknown:
                raise DataError(
                    f"{folder} has the class '{unknown[0]}', which {folders['train']} has not", key="data.root"
                )
            files[split] = [(p, label) for label, name in enumerate(names) for p in list_images(folder / name)]
        return files

    def _from_shares(self, names: list[str]) -> dict[str, list[tuple[Path, int]]]:
        files: dict[str, list[tuple[Path, int]]] = {s: [] for s in FOLDERS}
        for label, name in enumerate(names):
            for path in list_images(self.root / name):
                place = share_of(path.name)
                split = (
                    "test" if place < self.shares["test"] else "valid" if place < sum(self.shares.values()) else "train"
                )
                files[split].append((path, label))
        return files


@data(name="imagenet", fields=("train", "valid", "test"), fingerprint=True)
class ImageNet(Folder):
    """ImageNet-1k as ``root/train/WNID/*.JPEG`` and ``root/val/WNID/*.JPEG``; its validation images are the split ``test``.

    ``valid`` training images, chosen by a hash of their names, are set aside as the split of that name; 0: there is
    none. Decoding is deterministic: shorter side to ``resize``, centre crop of ``size``. Random crops and flips are
    ``augment`` transforms on the batch. Columns: ``image`` [3, size, size], normalised by the mean and deviation of
    ImageNet, ``label`` (int64). ``classes`` is needed only to plan without the data. Raises ``DataError`` for missing
    or broken files.

    >>> known = data.imagenet(root="nowhere").info()
    >>> known["train"].size, known["test"].columns["image"].shape
    (1281167, (3, 224, 224))
    """

    def __init__(
        self, *, root: PathToRead, size: Count = 224, resize: Count = 256, classes: Count = 1000, valid: Unsigned = 0
    ) -> None:
        super().__init__(
            root=root, size=size, resize=resize, mean=list(IMAGENET_MEAN), std=list(IMAGENET_STD), classes=classes
        )
        self.valid = valid

    def info(self) -> dict[str, DataInfo]:
        if self.root.is_dir():
            return super().info()
        columns = {"image": Column((3, self.size, self.size)), "label": Column((), torch.int64)}
        sizes = {"train": 1281167 - self.valid, "valid": self.valid, "test": 50000}
        return {split: DataInfo(columns, self.classes, size) for split, size in sizes.items() if size}

    def _listing(self) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
        train, val = self.root / "train", self.root / "val"
        if not train.is_dir() or not val.is_dir():
            raise DataError(
                f"ImageNet is expected as {self.root}/train/n01440764/*.JPEG and {self.root}/val/n01440764/*.JPEG; "
                "set data.root",
                key="data.root",
            )
        names = [p.name for p in class_folders(train)]
        files = self._from_folders({"train": train, "test": val}, names)
        if self.valid:
            files["train"], files["valid"] = self._set_aside(files["train"])
        return names, files

    def _set_aside(self, rows: list[tuple[Path, int]]) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
        """The rows to train on, and ``valid`` others, those with the least hashes of their names; both in order."""
        if self.valid >= len(rows):
            raise DataError(f"{self.valid} of {len(rows)} training images leave none to train on", key="data.valid")
        order = sorted(range(len(rows)), key=lambda row: share_of(rows[row][0].name))
        held, kept = sorted(order[: self.valid]), sorted(order[self.valid :])
        return [rows[row] for row in kept], [rows[row] for row in held]
