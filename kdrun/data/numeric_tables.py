"""Tables of numbers: what a row has, and what is to be predicted of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from kdrun.data.answer_tables import KINDS, AnswerTable, read_table, splits_of, standardization
from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Fraction, PathToRead

__all__ = ["NumericTable"]


@data(name="numeric_table", fields=("train", "valid", "test"), fingerprint=True)
class NumericTable:
    """A CSV file of numbers: columns ``targets`` are to be predicted of the other ones, a line a row.

    ``path`` is the file; without one it is scikit-learn's table of 442 patients with diabetes (10 features, the progression a
    year later). With ``kind`` ``values`` targets are numbers, standardised as the features are by mean and deviation of the
    training rows; with ``labels`` they are 0 or 1, whether the label holds. A column ``split`` says train, valid or test;
    without it ``valid_share`` and ``test_share`` are set aside by a hash of the row's number. Columns: ``features``
    [features] and ``target`` or ``label`` [targets] (float32). Raises ``DataError`` for missing files, columns and cells.

    >>> splits = data.numeric_table().load()
    >>> {name: len(rows) for name, rows in splits.items()}, splits["train"].rows()["features"].shape[1]
    ({'train': 313, 'valid': 37, 'test': 92}, 10)
    """

    def __init__(
        self,
        *,
        path: PathToRead | None = None,
        targets: list[str] | None = None,
        kind: Literal["labels", "values"] = "values",
        valid_share: Fraction = 0.1,
        test_share: Fraction = 0.2,
    ) -> None:
        self.path = Path(path).expanduser() if path else None
        self.targets, self.kind = targets, kind
        self.shares = {"valid": valid_share, "test": test_share}
        if path is not None and not targets:
            raise DataError("a table of one's own needs data.targets: the columns to predict", key="data.targets")

    def info(self) -> dict[str, DataInfo]:
        return {split: rows.info for split, rows in self.load().items()}

    def fingerprint(self) -> str:
        """A hash of the file's name, size and time of change, or scikit-learn's version."""
        if self.path is None:
            import sklearn

            return str(sklearn.__version__)
        return fingerprint_of([self.path], self.path.parent)

    def load(self) -> dict[str, MemoryDataset]:
        features, targets = self._features_and_targets()
        names = [f"row {row}" for row in range(len(targets.cells))]
        splits = splits_of(targets, names, "split", self.shares)
        shift, scale = standardization(features.answers[splits["train"]])
        given, wanted = (features.answers - shift) / scale, targets.answers
        extra: dict[str, Any] = {}
        if self.kind == "values":
            mean, std = standardization(wanted[splits["train"]])
            wanted, extra = (wanted - mean) / std, {"target_mean": mean.tolist(), "target_std": std.tolist()}
        name, width = KINDS[self.kind], wanted.shape[1]
        columns = {"features": Column((given.shape[1],)), name: Column((width,))}
        info = DataInfo(columns, width, None, targets.columns, extra)
        return {
            split: MemoryDataset({"features": given[rows], name: wanted[rows]}, info) for split, rows in splits.items()
        }

    def _features_and_targets(self) -> tuple[AnswerTable, AnswerTable]:
        if self.path is None:
            return _diabetes()
        beside = ("split", *(self.targets or ()))
        return (
            read_table(self.path, None, beside, labels=False),
            read_table(self.path, self.targets, (), labels=self.kind == "labels"),
        )


def _diabetes() -> tuple[AnswerTable, AnswerTable]:
    from sklearn.datasets import load_diabetes

    found: Any = load_diabetes(scaled=False)
    cells: list[dict[str, str]] = [{} for _ in found.target]
    path = Path("diabetes of scikit-learn")
    features = AnswerTable(path, tuple(found.feature_names), cells, torch.tensor(found.data, dtype=torch.float32))
    target = torch.tensor(found.target, dtype=torch.float32)[:, None]
    return features, AnswerTable(path, ("progression",), cells, target)
