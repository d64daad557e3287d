"""A trained student as it is used: an exported file or a run's model, with what it reads and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdrun.data.image_reading import Preparation
from kdrun.errors import InputError
from kdrun.models.exported import About, Classifier, classifier_of, opened

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Student"]


@dataclass(frozen=True)
class Student:
    """What is said of a model, the model as a function, and how images are prepared for it."""

    about: About
    classifier: Classifier
    preparation: Preparation
    classes: int

    @classmethod
    def of(cls, source: Path, *, stage: str, role: str | None, device: str, trusted: bool) -> Student:
        """Open an exported file, or the model of a ``stage`` of the run whose folder this is.

        A plug-in that holds the model's code must be in use. Raises ``InputError`` for a file or folder that is neither, a
        program that is not ``trusted``, and a model that reads no images or does not give an entry a class.
        """
        import torch

        from kdrun.runtime.hardware import Hardware

        on = Hardware({"device": device, "threads": torch.get_num_threads()}).device
        about, classifier = _of_run(source, stage, role, on) if source.is_dir() else opened(source, on, trusted=trusted)
        preparation = _preparation(about, source)
        classes = _classes(about, classifier, source)
        return cls(about, classifier, preparation, classes)

    def logits(self, images: Tensor) -> Tensor:
        """Logits [rows, classes] of images [rows, channels, size, size]."""
        return self.classifier(images)

    def name(self, label: int) -> str:
        """The name of a class; its number if it has none."""
        return self.about.classes[label] if self.about.classes else str(label)


def _of_run(folder: Path, stage: str, role: str | None, on: torch.device) -> tuple[About, Classifier]:
    from kdrun.api.trained import Trained
    from kdrun.models.building import restored

    run = Trained.of_run(folder)
    model = run.model(stage, role)
    run.check_code(model)
    about = About.of(run.reads(stage), where=f"the record {folder}")
    return about, classifier_of(restored(model.spec, model.state), on)


def _preparation(about: About, source: Path) -> Preparation:
    if about.column != "image":
        raise InputError(f"the model of {source} reads '{about.column}', no images: files can't be prepared for it")
    if len(about.shape) != 3 or about.shape[0] not in (1, 3) or about.shape[1] != about.shape[2]:
        raise InputError(
            f"the model of {source} reads {about.shape}; images are prepared as [1 or 3 channels, size, size]"
        )
    channels, size, _ = about.shape
    for name, numbers in {"mean": about.mean, "std": about.std}.items():
        if numbers is not None and len(numbers) != channels:
            raise InputError(f"{source} says {name} {numbers} of {channels} channels")
    return Preparation(channels, size, about.resize or size, about.mean, about.std, about.background)


def _classes(about: About, classifier: Classifier, source: Path) -> int:
    """How many logits a row gets; tried on two empty images."""
    import torch

    found = classifier(torch.zeros(2, *about.shape))
    if found.dim() != 2 or len(found) != 2:
        raise InputError(f"the model of {source} gives {list(found.shape)} for 2 images, no logits [rows, classes]")
    classes = found.shape[1]
    for name, numbers in {"target_mean": about.target_mean, "target_std": about.target_std}.items():
        if numbers is not None and len(numbers) != classes:
            raise InputError(f"{source} says {name} of {len(numbers)} outputs of a model that gives {classes}")
    if about.classes is not None and len(about.classes) != classes:
        raise InputError(f"{source} names {len(about.classes)} classes of a model that gives {classes} logits")
    return classes
