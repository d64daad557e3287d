"""Images with several labels or numbers each, which a table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.config.places import refuse_links_out
from kdrun.data.answer_tables import KINDS, AnswerTable, read_table, splits_of, standardization
from kdrun.data.dataset import Column, DataInfo, FileDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.image_reading import Preparation
from kdrun.errors import DataError
from kdrun.models.pretraining import statistics_of
from kdrun.registry import data
from kdrun.types import Count, Fraction, PathToRead

__all__ = ["TabledImages"]

SPLITS = ("train", "valid", "test")


class _Reader:
    """Decodes row ``i`` of a list of files; picklable, for worker processes."""

    def __init__(self, files: list[Path], answers: Tensor, name: str, prepare: Preparation) -> None:
        self.files, self.answers, self.name, self.prepare = files, answers, name, prepare

    def __call__(self, row: int) -> dict[str, Tensor]:
        return {"image": self.prepare(self.files[row]), self.name: self.answers[row]}


@data(name="image_table", fields=("train", "valid", "test"), fingerprint=True)
class TabledImages:
    """Images below ``root`` with several answers each, as a CSV file ``table`` below it says: a line an image.

    The table's column ``file`` names the image. ``columns`` are the answers (default: all others): with ``kind`` ``labels`` 0
    or 1, whether the label holds; with ``values`` numbers to predict, standardised by mean and deviation of the training rows.
    A column ``split`` says train, valid or test; without it ``valid_share`` and ``test_share`` are set aside by a hash of the
    file's name. Columns: ``image`` [channels, size, size], prepared as by ``folder``, and ``label`` or ``target``
    [columns] (float32). The model has as many outputs as there are columns. ``columns`` given, the data need not be there to
    be planned. Raises ``DataError`` for missing or broken files and cells, with the line.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from PIL import Image
    >>> root = Path(mkdtemp())
    >>> lines = ["file,cat,dog"]
    >>> for i in range(20):
    ...     Image.new("RGB", (40, 30)).save(root / f"{i}.png")
    ...     lines.append(f"{i}.png,{i % 2},1")
    >>> _ = (root / "labels.csv").write_text("\\n".join(lines))
    >>> splits = data.image_table(root=str(root), size=24).load()
    >>> sum(len(rows) for rows in splits.values()), splits["train"].info.class_names
    (20, ('cat', 'dog'))
    >>> splits["train"].rows()["label"][0].shape
    torch.Size([2])
    """

    def __init__(
        self,
        *,
        root: PathToRead,
        table: str = "labels.csv",
        kind: Literal["labels", "values"] = "labels",
        columns: list[str] | None = None,
        size: Count = 64,
        resize: Count | None = None,
        channels: Count = 3,
        mean: list[float] = (0.5, 0.5, 0.5),  # type: ignore[assignment]
        std: list[float] = (0.25, 0.25, 0.25),  # type: ignore[assignment]
        normalize: dict[str, Any] | None = None,
        valid_share: Fraction = 0.1,
        test_share: Fraction = 0.2,
        background: Fraction = 1.0,
    ) -> None:
        if normalize is not None:
            mean, std = statistics_of(normalize, key="data.normalize")
        self.root, self.kind, self.columns = Path(root).expanduser(), kind, columns
        self.table = self.root / table
        self.resize, self.background = resize or size, background
        self.mean, self.std = list(mean[:channels]), list(std[:channels])
        self.prepare = Preparation(channels, size, self.resize, self.mean, self.std, background)
        self.shares = {"valid": valid_share, "test": test_share}

    def info(self) -> dict[str, DataInfo]:
        if not self.table.is_file() and self.columns is not None:
            return dict.fromkeys(SPLITS, self._info(tuple(self.columns), None, {}))
        table, splits = self._read()
        extra = self._scale(table, splits)
        return {split: self._info(table.columns, len(rows), extra) for split, rows in splits.items()}

    def fingerprint(self) -> str:
        """A hash of the table's and the images' names, sizes and times of change."""
        files = [self.root / line["file"] for line in self._read()[0].cells] if self.table.is_file() else []
        return fingerprint_of([self.table, *files], self.root)

    def load(self) -> dict[str, FileDataset]:
        table, splits = self._read()
        extra = self._scale(table, splits)
        answers = table.answers
        if extra:
            mean, std = (torch.tensor(extra[name]) for name in ("target_mean", "target_std"))
            answers = (answers - mean) / std
        sets = {}
        for split, rows in splits.items():
            files = [self.root / table.cells[row]["file"] for row in rows]
            reader = _Reader(files, answers[rows], KINDS[self.kind], self.prepare)
            sets[split] = FileDataset(reader, len(rows), self._info(table.columns, len(rows), extra))
            sets[split].decode(0)
        return sets

    def _info(self, names: tuple[str, ...], rows: int | None, extra: dict[str, Any]) -> DataInfo:
        size = self.prepare.size
        columns = {"image": Column((self.prepare.channels, size, size)), KINDS[self.kind]: Column((len(names),))}
        return DataInfo(columns, len(names), rows, names, extra)

    def _read(self) -> tuple[AnswerTable, dict[str, list[int]]]:
        refuse_links_out([self.table], self.root)
        table = read_table(self.table, self.columns, ("file", "split"), labels=self.kind == "labels")
        missing = next((row for row, line in enumerate(table.cells) if not line.get("file")), None)
        if missing is not None:
            raise DataError(f"{table.where(missing)}: the column 'file' names an image", key="data.table")
        return table, splits_of(table, [line["file"] for line in table.cells], "split", self.shares)

    def _scale(self, table: AnswerTable, splits: dict[str, list[int]]) -> dict[str, Any]:
        """Mean and deviation of the training rows' values; nothing for labels."""
        if self.kind == "labels":
            return {}
        mean, std = standardization(table.answers[splits["train"]])
        return {"target_mean": mean.tolist(), "target_std": std.tolist()}
