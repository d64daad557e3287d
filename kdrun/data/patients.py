"""Cohorts of patients in files: a list of them with their outcomes, and the features of their slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdrun.data.text_reading import read_table
from kdrun.errors import DataError
from kdrun.ops.survival import time_bins

__all__ = ["LIST", "BagReader", "Patient", "read_patients"]

LIST = "patients.csv"
"""The list of a cohort's patients, in the cohort's folder."""

COLUMNS = ("slides", "time", "event", "fold")


@dataclass(frozen=True)
class Patient:
    """One row of a cohort's list: files of slides, the outcome with the number of its interval, and the fold."""

    files: list[Path]
    time: float
    event: int
    bin: int
    fold: int


def read_patients(folder: Path, cutoffs: Sequence[float]) -> list[Patient]:
    """The patients of a cohort, from ``folder/patients.csv``. Raises ``DataError`` naming a bad line or what is missing."""
    path = folder / LIST
    if not path.is_file():
        raise DataError(
            f"no list {path}: expected a row a patient with the columns {', '.join(COLUMNS)}, and "
            f"{folder}/features/SLIDE.safetensors (or .npz) with an array 'features'",
            key="data.root",
        )
    header, rows = read_table(path)
    missing = [c for c in COLUMNS if c not in header]
    if missing or not rows:
        raise DataError(f"{path} has {f'no column {missing[0]}' if missing else 'no patients'}", key="data.root")
    return [_patient(row, f"{path}:{number}", folder / "features", cutoffs) for number, row in enumerate(rows, 2)]


def _patient(row: dict[str, str], where: str, folder: Path, cutoffs: Sequence[float]) -> Patient:
    try:
        time, event, fold = float(row["time"]), int(row["event"]), int(row["fold"])
    except (TypeError, ValueError):
        raise DataError(f"{where}: time is a number, event and fold are whole numbers; got {str(row)[:100]}") from None
    if not 0 <= time < float("inf") or event not in (0, 1):
        raise DataError(f"{where}: a time is not negative and an event 0 or 1, got {time} and {event}")
    files = [_file(folder, slide, where) for slide in (row["slides"] or "").split()]
    if not files:
        raise DataError(f"{where}: a patient has one slide or more")
    bin = int(time_bins(torch.tensor(time, dtype=torch.float64), cutoffs=list(cutoffs)))
    return Patient(files, time, event, bin, fold)


def _file(folder: Path, slide: str, where: str) -> Path:
    if Path(slide).is_absolute() or ".." in Path(slide).parts:
        raise DataError(f"{where}: a slide lies in {folder}, got '{slide}'", key="data.root")
    for ending in (".safetensors", ".npz"):
        if (path := folder / f"{slide}{ending}").is_file():
            return path
    raise DataError(f"{where}: expected {folder / slide}.safetensors or .npz")


class BagReader:
    """Decodes patient ``i``: the instances of all its files, padded by zeros or thinned to one number; picklable."""

    def __init__(self, patients: list[Patient], instances: int, features: int) -> None:
        self.patients, self.instances, self.features = patients, instances, features

    def __call__(self, row: int) -> dict[str, Tensor]:
        patient = self.patients[row]
        bag = torch.cat([self._read(path) for path in patient.files])
        if len(bag) > self.instances:
            bag = bag[torch.linspace(0, len(bag) - 1, self.instances).round().long()]
        padded = torch.zeros(self.instances, self.features)
        padded[: len(bag)] = bag
        return {
            "bag": padded,
            "time": torch.tensor(patient.time),
            "event": torch.tensor(patient.event),
            "bin": torch.tensor(patient.bin),
        }

    def _read(self, path: Path) -> Tensor:
        try:
            if path.suffix == ".npz":
                import numpy as np

                with np.load(path, allow_pickle=False) as content:
                    values = torch.from_numpy(content["features"])
            else:
                from safetensors.torch import load_file

                values = load_file(path)["features"]
        except KeyError:
            raise DataError(f"{path} holds no array named 'features'") from None
        except Exception as error:
            raise DataError(f"cannot read {path}: {error}") from None
        if values.dim() != 2 or values.shape[1] != self.features:
            raise DataError(f"{path}: expected features [instances, {self.features}], got {list(values.shape)}")
        return values.float()
