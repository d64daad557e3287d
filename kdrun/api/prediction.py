"""What a trained student says of image files, and how right it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.api.student import Student
from kdrun.data.image_reading import image_batches, images_below, labelled_images
from kdrun.errors import InputError
from kdrun.registry import catalog
from kdrun.stages.scoring import named_scores

if TYPE_CHECKING:
    import torch
    from pandas import DataFrame

    from kdrun.errors import DataError

__all__ = ["METRICS", "Evaluation", "Prediction", "Predictions", "evaluated", "predicted"]

METRICS = ("accuracy", "f1_score", "nll", "calibration_error")
"""What ``kdrun evaluate`` prints of all images."""


@dataclass(frozen=True)
class Prediction:
    """Of one file: its path below the folder, what is said of it, and its label if it has one.

    What is said are ``class`` and ``probability`` of the likeliest one, ``class_2``, ``probability_2``, … of the next ones; of a
    model of several labels the probability of each by its name, of a regression each number by its.
    """

    file: str
    said: Mapping[str, Any]
    label: str | None = None

    def row(self) -> dict[str, Any]:
        """All in one mapping."""
        return {"file": self.file, **({} if self.label is None else {"label": self.label}), **self.said}


@dataclass(frozen=True)
class Predictions:
    """What was said of each image, in the order of the files; ``broken`` are the errors of those left out."""

    images: list[Prediction]
    broken: list[str]

    def rows(self) -> list[dict[str, Any]]:
        return [image.row() for image in self.images]

    @property
    def frame(self) -> DataFrame:
        """The same as a data frame."""
        from kdrun.api.frames import data_frame

        return data_frame(self.rows())


@dataclass(frozen=True)
class Evaluation(Predictions):
    """Predictions for labelled images, with ``metrics`` over all and, a class that has images, their number and the share of right ones."""

    metrics: dict[str, float]
    classes: list[dict[str, Any]]


def predicted(student: Student, place: Path, *, top: int, skip_broken: bool, batch_size: int) -> Predictions:
    """Ask a student about an image or all below a folder. Raises ``InputError`` for what it can't read, ``DataError`` for a broken image."""
    files = images_below(place)
    broken: list[str] = []
    said: list[Prediction] = []
    for places, logits in _asked(student, files, skip_broken, batch_size, broken):
        said += _said(student, [files[i] for i in places], place, logits, top)
    return Predictions(said, broken)


def evaluated(
    student: Student,
    root: Path,
    *,
    metrics: Sequence[str],
    top: int,
    skip_broken: bool,
    batch_size: int,
) -> Evaluation:
    """Ask a student about ``root/CLASS/*.png`` and score it by registered metrics of logits and labels.

    Raises ``InputError`` as ``predicted``, for a folder that is no class, and for an unknown metric or one that reads something else.
    """
    import torch

    if student.about.answers != "classes":
        raise InputError(
            f"folders say one class of an image, but the model gives {student.about.answers}: ask it by predict"
        )
    parts = {name: _metric(name) for name in metrics}
    rows = labelled_images(root, student.classes, student.about.classes)
    broken: list[str] = []
    said: list[Prediction] = []
    labels, answers = [], []
    for places, logits in _asked(student, [file for file, _ in rows], skip_broken, batch_size, broken):
        own = [rows[i][1] for i in places]
        said += _said(student, [rows[i][0] for i in places], root, logits, top, [student.name(one) for one in own])
        labels.append(torch.tensor(own))
        answers.append(logits)
    if not answers:
        raise InputError(f"all {len(rows)} images in {root} are broken")
    columns = {"logits": torch.cat(answers), "label": torch.cat(labels)}
    scores: dict[str, float] = {}
    for name, part in parts.items():
        scores.update(named_scores(part.load()(**columns), name, None))
    return Evaluation(said, broken, scores, _by_class(student, columns["logits"], columns["label"]))


def _metric(name: str) -> Any:
    part = catalog().get("metric", name)
    needed = {one.name for one in part.inputs if one.required}
    if needed != {"logits", "label"}:
        raise InputError(f"metric '{name}' reads {', '.join(sorted(needed))}; here there are logits and label")
    return part


def _asked(
    student: Student, files: list[Path], skip: bool, batch_size: int, broken: list[str]
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Batches of places in ``files`` and logits [rows, classes]."""

    def leave_out(error: DataError) -> None:
        broken.append(str(error))

    for places, images in image_batches(files, student.preparation, batch_size, leave_out if skip else None):
        yield places, student.logits(images)


def _said(
    student: Student,
    files: Sequence[Path],
    place: Path,
    logits: torch.Tensor,
    top: int,
    labels: Sequence[str | None] | None = None,
) -> Iterator[Prediction]:
    each = zip(files, _answers(student, logits.double(), top), labels or [None] * len(files), strict=True)
    for file, said, label in each:
        name = file.relative_to(place).as_posix() if place.is_dir() else str(file)
        yield Prediction(name, said, label)


def _answers(student: Student, logits: torch.Tensor, top: int) -> list[dict[str, Any]]:
    """Logits [rows, classes] (float64) in the words of what the model gives."""
    import torch

    about, names = student.about, [student.name(place) for place in range(logits.shape[1])]
    if about.answers == "labels":
        return [dict(zip(names, row, strict=True)) for row in logits.sigmoid().tolist()]
    if about.answers == "values":
        if about.target_mean and about.target_std:
            logits = logits * torch.tensor(about.target_std) + torch.tensor(about.target_mean)
        return [dict(zip(names, row, strict=True)) for row in logits.tolist()]
    found = logits.softmax(1).topk(min(top, logits.shape[1]), dim=1)
    return [
        {
            f"{word}{'' if place == 1 else f'_{place}'}": value
            for place, (label, probability) in enumerate(zip(*chosen, strict=True), 1)
            for word, value in (("class", names[label]), ("probability", probability))
        }
        for chosen in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def _by_class(student: Student, logits: torch.Tensor, label: torch.Tensor) -> list[dict[str, Any]]:
    right = logits.argmax(1) == label
    found = []
    for one in label.unique().tolist():
        own = right[label == one]
        found.append({"class": student.name(one), "images": len(own), "accuracy": own.double().mean().item()})
    return found
