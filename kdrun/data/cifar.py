"""CIFAR-10 and CIFAR-100, from the archives' binary version (no pickle is ever read)."""

from __future__ import annotations

import tarfile
from pathlib import Path

import torch
from torch import Tensor

from kdrun.config.places import refuse_links_out
from kdrun.data.cifar_classes import FINE
from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.images import standardized
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead, Unsigned

__all__ = ["Cifar10", "Cifar100"]

PIXELS = 3 * 32 * 32


class _Cifar:
    """What both sets share: fixed-length records of label bytes and 3072 pixel bytes."""

    classes: int
    folder: str
    train_files: tuple[str, ...]
    test_file: str
    label_bytes: int
    names: tuple[str, ...]
    mean: list[float]
    std: list[float]

    def __init__(
        self,
        *,
        root: PathToRead = "~/.cache/kdrun/data",
        valid: Unsigned = 0,
        limit: Count | None = None,
        standardize: bool = True,
    ) -> None:
        self.root, self.valid, self.limit = Path(root).expanduser(), valid, limit
        self.standardize = standardize

    def info(self) -> dict[str, DataInfo]:
        columns = {"image": Column((3, 32, 32)), "label": Column((), torch.int64)}
        train = min(50000 - self.valid, self.limit or 50000)
        sizes = {"train": train, "valid": self.valid, "test": 10000}
        return {n: DataInfo(columns, self.classes, s, self.names) for n, s in sizes.items() if s}

    def load(self) -> dict[str, MemoryDataset]:
        """Read and normalise; ``valid`` rows are taken off the end of the training set."""
        image, label = self._read(self.train_files)
        test = self._read((self.test_file,))
        cut = len(label) - self.valid
        sets = {
            "train": (image[:cut][: self.limit], label[:cut][: self.limit]),
            "valid": (image[cut:], label[cut:]),
            "test": test,
        }
        info = self.info()
        return {n: MemoryDataset({"image": i, "label": y}, info[n]) for n, (i, y) in sets.items() if n in info}

    def _read(self, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        raw = torch.cat([self._records(name) for name in names])
        label = raw[:, self.label_bytes - 1].long()
        image = raw[:, self.label_bytes :].reshape(-1, 3, 32, 32).float().div_(255)
        return standardized(image, self.mean, self.std) if self.standardize else image, label

    def _records(self, name: str) -> Tensor:
        content = self._bytes(name)
        width = self.label_bytes + PIXELS
        if not content or len(content) % width:
            raise DataError(
                f"{self.folder}/{name} under {self.root} is broken: {len(content)} bytes are not whole records of {width}",
                key="data.root",
            )
        return torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, width)

    def _bytes(self, name: str) -> bytes:
        path = self.root / self.folder / name
        archive = self.root / f"{self._archive}.tar.gz"
        refuse_links_out([path, archive], self.root)
        if path.is_file():
            return path.read_bytes()
        if archive.is_file():
            try:
                with tarfile.open(archive) as opened:
                    member = opened.extractfile(f"{self.folder}/{name}")
                    if member is not None:
                        return member.read()
            except (tarfile.TarError, OSError, EOFError, KeyError) as error:
                raise DataError(
                    f"{archive} is no archive with {self.folder}/{name}: {error}", key="data.root"
                ) from None
        raise DataError(
            f"{path} is missing: put the binary version ({archive.name}, from the CIFAR page of the University of Toronto) "
            f"into {self.root}, packed or unpacked, or set data.root",
            key="data.root",
        )

    @property
    def _archive(self) -> str:
        return {10: "cifar-10-binary", 100: "cifar-100-binary"}[self.classes]


@data(name="cifar10", fields=("train", "valid", "test"))
class Cifar10(_Cifar):
    """60000 colour images of 32×32 pixels in 10 classes (Krizhevsky, 2009), 50000 for training.

    Reads the binary version, packed or unpacked, under ``root``. Columns: ``image`` [3, 32, 32], normalised by mean and
    deviation of the training images (without ``standardize`` pixels in [0, 1]), ``label`` (int64). ``valid`` rows are taken off the end of the training set (0:
    there is no such split); ``limit`` keeps the first so many training rows. Raises ``DataError`` if files are missing
    or broken.

    >>> known = data.cifar10(valid=5000).info()["train"]
    >>> known.size, known.classes, known.columns["image"].shape
    (45000, 10, (3, 32, 32))
    """

    classes, folder, label_bytes = 10, "cifar-10-batches-bin", 1
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    train_files = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_file = "test_batch.bin"
    mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


@data(name="cifar100", fields=("train", "valid", "test"))
class Cifar100(_Cifar):
    """60000 colour images of 32×32 pixels in 100 classes (Krizhevsky, 2009), 50000 for training; the fine labels.

    Reads the binary version, packed or unpacked, under ``root``. Columns: ``image`` [3, 32, 32], normalised by mean and
    deviation of the training images (without ``standardize`` pixels in [0, 1]), ``label`` (int64). ``valid`` rows are taken off the end of the training set (0:
    there is no such split); ``limit`` keeps the first so many training rows. Raises ``DataError`` if files are missing
    or broken.

    >>> data.cifar100(limit=1000).info()["train"].size
    1000
    """

    classes, folder, label_bytes = 100, "cifar-100-binary", 2
    names = FINE
    train_files, test_file = ("train.bin",), "test.bin"
    mean, std = [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]
