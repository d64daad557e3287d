"""Point clouds in class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, FileDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.image_folders import class_folders
from kdrun.data.point_clouds import unit_sphere
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead

__all__ = ["PointCloudFolder"]


class _Reader:
    """Reads row ``i`` of a list of files; picklable, for worker processes."""

    def __init__(self, files: list[Path], labels: list[int], points: int) -> None:
        self.files, self.labels, self.points = files, labels, points

    def __call__(self, row: int) -> dict[str, Tensor]:
        path = self.files[row]
        try:
            cloud = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no array of points: {error}", key="data.root") from None
        if cloud.ndim != 2 or cloud.shape[1] < 3 or not len(cloud) or not np.isfinite(cloud[:, :3]).all():
            raise DataError(
                f"{path} has shape {list(cloud.shape)}: expected [points, 3 or more] of numbers", key="data.root"
            )
        places = np.linspace(0, len(cloud) - 1, self.points).round().astype(np.int64)
        points = torch.from_numpy(cloud[places, :3].astype(np.float32))
        return {"points": unit_sphere(points), "label": torch.tensor(self.labels[row])}


@data(name="point_cloud_folder", fields=("train", "test"), fingerprint=True)
class PointCloudFolder:
    """Point clouds as ``root/CLASS/train/*.npy`` and ``root/CLASS/test/*.npy``, as PointDA-10 has them (Qin et al., 2019).

    A file holds an array [points, 3 or more], x, y and z first. ``points`` of them are taken at equal distances of their order (some
    repeatedly, where there are fewer), moved to their mean and scaled to the unit sphere. Columns: ``points`` [points, 3] and ``label``
    (int64), folders in order of their names. ``classes`` is needed only to plan without the data. Raises ``DataError`` for missing or
    broken files.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> import numpy
    >>> root = Path(mkdtemp())
    >>> for place in ("chair/train", "chair/test", "lamp/train", "lamp/test"):
    ...     (root / place).mkdir(parents=True)
    ...     numpy.save(root / place / "0.npy", numpy.random.default_rng(0).normal(size=(50, 3)))
    >>> splits = data.point_cloud_folder(root=str(root), points=16).load()
    >>> splits["train"].rows()["points"].shape, splits["train"].info.class_names
    (torch.Size([2, 16, 3]), ('chair', 'lamp'))
    """

    def __init__(self, *, root: PathToRead, points: Count = 1024, classes: Count | None = None) -> None:
        self.root, self.points, self.classes = Path(root).expanduser(), points, classes

    def info(self) -> dict[str, DataInfo]:
        columns = {"points": Column((self.points, 3)), "label": Column((), torch.int64)}
        if not self.root.is_dir() and self.classes is not None:
            return {split: DataInfo(columns, self.classes) for split in ("train", "test")}
        names, files = self._listing()
        return {split: DataInfo(columns, len(names), len(rows), tuple(names)) for split, rows in files.items()}

    def fingerprint(self) -> str:
        """A hash of every file's name, size and time of change."""
        return fingerprint_of(sorted(self.root.glob("*/*/*.npy")) if self.root.is_dir() else [], self.root)

    def load(self) -> dict[str, FileDataset]:
        info = self.info()
        sets = {}
        for split, rows in self._listing()[1].items():
            reader = _Reader([path for path, _ in rows], [label for _, label in rows], self.points)
            sets[split] = FileDataset(reader, len(rows), info[split])
        for data_set in sets.values():
            data_set.decode(0)
        return sets

    def _listing(self) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
        """Class names, and per split the files with their labels."""
        wanted = f"expected {self.root}/CLASS/train/*.npy and {self.root}/CLASS/test/*.npy"
        if not self.root.is_dir():
            raise DataError(f"the data folder {self.root} does not exist: {wanted}", key="data.root")
        folders = class_folders(self.root)
        files = {
            split: [(path, i) for i, folder in enumerate(folders) for path in sorted((folder / split).glob("*.npy"))]
            for split in ("train", "test")
        }
        empty = next((split for split, rows in files.items() if not rows), None)
        if empty is not None:
            raise DataError(f"{self.root} has no point clouds to {empty} on: {wanted}", key="data.root")
        return [folder.name for folder in folders], files
