"""Image files for a trained model: prepared as its training data were, labelled by their folders, read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdrun.data.image_folders import ENDINGS, class_folders, list_images
from kdrun.data.images import decode, standardized
from kdrun.errors import DataError, nearest, printable

__all__ = ["Preparation", "image_batches", "images_below", "labelled_images"]

THREADS = 4
"""That decode at once; Pillow lets go of Python's lock meanwhile."""


@dataclass(frozen=True)
class Preparation:
    """How a file becomes an image [channels, size, size], as ``data=folder`` does it.

    The shorter side is brought to ``resize``, the centre cut out; ``mean`` and ``std`` by channel leave [0, 1] as it is if they are
    not known. ``background`` shows through what is transparent.
    """

    channels: int
    size: int
    resize: int
    mean: list[float] | None = None
    std: list[float] | None = None
    background: float = 1.0

    def __call__(self, path: Path) -> Tensor:
        """The image of a file. Raises ``DataError`` naming one that is missing or broken."""
        image = decode(path, size=self.size, resize=self.resize, channels=self.channels, background=self.background)
        mean, std = self.mean or [0.0] * self.channels, self.std or [1.0] * self.channels
        return standardized(image, mean, std)


def images_below(place: Path) -> list[Path]:
    """One image file, or all at any depth below a folder, sorted. Raises ``DataError`` if there is none."""
    if not place.exists():
        raise DataError(f"there is no file or folder {place}")
    found = [place] if place.is_file() else list_images(place)
    if not found:
        raise DataError(f"{place} holds no images ({', '.join(sorted(ENDINGS))})")
    return found


def labelled_images(root: Path, classes: int, names: Sequence[str] | None) -> list[tuple[Path, int]]:
    """The images of ``root/CLASS/*.png`` with the numbers of their classes, class by class; some may have no folder.

    Folders bear the ``names`` of the classes, or their numbers if there are no names. Raises ``DataError`` for a folder of
    another name, and if there are no images.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: expected {root}/CLASS/*.png")
    known = {name: label for label, name in enumerate(names or map(str, range(classes)))}
    folders = class_folders(root)
    strange = next((folder.name for folder in folders if folder.name not in known), None)
    if strange is not None:
        whose = "" if names else ": the model has no names of classes, so folders bear their numbers"
        raise DataError(
            f"{root} has a folder '{printable(strange)}', which is no class of the model{nearest(strange, known)}{whose}; "
            f"it knows: {', '.join(list(known)[:12])}{', …' if len(known) > 12 else ''}"
        )
    found = [(path, known[folder.name]) for folder in folders for path in list_images(folder)]
    if not found:
        raise DataError(f"{root} has no images in class folders: expected {root}/CLASS/*.png")
    return found


def image_batches(
    files: Sequence[Path], prepare: Preparation, batch_size: int, broken: Callable[[DataError], None] | None = None
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of images with their places in ``files``, in order. A broken one is told to ``broken`` and left out.

    Without ``broken`` the first one raises its ``DataError``.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), batch_size):
            places = range(start, min(start + batch_size, len(files)))
            rows: dict[int, Tensor] = {}
            for place, found in zip(places, pool.map(lambda p: _read(prepare, files[p]), places), strict=True):
                if isinstance(found, Tensor):
                    rows[place] = found
                elif broken is None:
                    raise found
                else:
                    broken(found)
            if rows:
                yield list(rows), torch.stack(list(rows.values()))


def _read(prepare: Preparation, path: Path) -> Tensor | DataError:
    try:
        return prepare(path)
    except DataError as error:
        return error
