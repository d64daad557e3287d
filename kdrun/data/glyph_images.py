"""Characters rendered from the typefaces that matplotlib ships: many classes, many styles, no download."""

from __future__ import annotations

import functools
import math
import string
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError, nearest
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, Positive, Unsigned

__all__ = ["Glyphs", "rendered_masters", "typefaces"]

CANVAS = 64
"""Side of the square, in pixels, on which each character is drawn once."""

UNSUITED = ("STIXNonUni", "STIXSiz", "cmex", "cmsy", "cmmi", "DejaVuSansDisplay", "DejaVuSerifDisplay", "LastResort")
"""Typefaces without the usual letters."""


@functools.cache
def typefaces() -> dict[str, Path]:
    """Usable typefaces by name, sorted."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return {p.stem: p for p in sorted(folder.glob("*.ttf")) if not p.stem.startswith(UNSUITED)}


@data(name="glyphs", fields=("train", "valid", "test", "teacher_train"))
class Glyphs:
    """Grey images of characters in many typefaces, moved, turned, scaled and noisy.

    ``characters`` are the classes (all digits and letters where empty). ``typefaces`` is a number (the first so many by
    name), a list of names, or None for all; ``rotation`` in degrees, ``shift`` and ``scale`` as shares of the side,
    ``shear`` as a slope, ``noise`` the standard deviation at a contrast of 1. Digits and capitals are half as high as
    the image, times ``magnify``. ``fit`` then cuts each character to its bounding box, the longer side of which fills
    the image, and divides by its maximum, as collections of handwriting do. Of the images a share ``invert`` is dark on
    light; contrast falls by up to ``contrast``, brightness moves by up to ``brightness``, a Gaussian blurs by up to
    ``blur`` pixels (standard deviation), uniformly drawn an image.

    ``train``, ``valid`` and ``test`` have ``per_class``, ``valid_per_class`` and ``test_per_class`` rows a class;
    ``limit`` keeps the first so many training rows. ``teacher_train`` has ``teacher_per_class`` rows a class, in the
    first ``teacher_typefaces`` alone: a teacher may have seen more than its student, or not all of it. The draw depends
    on ``seed`` alone; the splits are drawn independently. Columns: ``image`` [1, size, size], ``label`` and
    ``typeface`` (int64). Raises ``DataError`` for an unknown typeface.

    >>> splits = data.glyphs(characters="AB", size=16, per_class=3, teacher_per_class=5, typefaces=2).load()
    >>> splits["train"].rows()["image"].shape, len(splits["teacher_train"])
    (torch.Size([6, 1, 16, 16]), 10)
    """

    def __init__(
        self,
        *,
        characters: str = "",
        size: Count = 20,
        per_class: Count = 30,
        valid_per_class: Count = 10,
        test_per_class: Count = 60,
        teacher_per_class: Count = 200,
        typefaces: int | list[str] | None = 20,
        teacher_typefaces: int | None = None,
        rotation: NonNegative = 12.0,
        shift: NonNegative = 0.08,
        scale: NonNegative = 0.12,
        noise: NonNegative = 0.25,
        shear: NonNegative = 0.0,
        magnify: Positive = 1.0,
        fit: bool = False,
        invert: Fraction = 0.0,
        contrast: Fraction = 0.0,
        brightness: NonNegative = 0.0,
        blur: NonNegative = 0.0,
        seed: Unsigned = 0,
        limit: Count | None = None,
    ) -> None:
        self.characters = characters or string.digits + string.ascii_uppercase + string.ascii_lowercase
        self.size, self.seed, self.limit = size, seed, limit
        self.shear, self.magnify, self.fit = shear, magnify, fit
        self.invert, self.contrast, self.brightness, self.blur = invert, contrast, brightness, blur
        self.counts = {
            "train": per_class,
            "valid": valid_per_class,
            "test": test_per_class,
            "teacher_train": teacher_per_class,
        }
        self.faces, self.teacher_faces = typefaces, teacher_typefaces
        self.rotation, self.shift, self.scale, self.noise = rotation, shift, scale, noise

    def info(self) -> dict[str, DataInfo]:
        columns = {
            "image": Column((1, self.size, self.size)),
            "label": Column((), torch.int64),
            "typeface": Column((), torch.int64),
        }
        classes = len(self.characters)
        sizes = {n: c * classes for n, c in self.counts.items()}
        for name in ("train", "teacher_train"):
            sizes[name] = min(sizes[name], self.limit or sizes[name])
        return {n: DataInfo(columns, classes, s, tuple(self.characters)) for n, s in sizes.items()}

    def load(self) -> dict[str, MemoryDataset]:
        masters = rendered_masters(self.characters, tuple(self._chosen()))
        info = self.info()
        return {
            name: self._split(
                masters[: self.teacher_faces] if name == "teacher_train" else masters, count, info[name], number
            )
            for number, (name, count) in enumerate(self.counts.items())
        }

    def _chosen(self) -> list[str]:
        known = typefaces()
        if isinstance(self.faces, list):
            for name in self.faces:
                if name not in known:
                    raise DataError(f"there is no typeface '{name}'{nearest(name, known)}", key="data.typefaces")
            return self.faces
        names = list(known)
        return names if self.faces is None else names[: self.faces]

    def _split(self, masters: Tensor, count: int, info: DataInfo, number: int) -> MemoryDataset:
        generator = torch.Generator().manual_seed(self.seed * 1000 + number)
        faces, classes = masters.shape[:2]
        label = torch.arange(classes).repeat_interleave(count)
        face = torch.randint(faces, (len(label),), generator=generator)
        order = torch.randperm(len(label), generator=generator)[: info.size]
        label, face = label[order], face[order]
        images = self._render(masters[face, label], generator)
        return MemoryDataset({"image": images, "label": label, "typeface": face}, info)

    def _render(self, masters: Tensor, generator: torch.Generator) -> Tensor:
        """Random similarity transforms of the masters [rows, canvas, canvas], resampled to [rows, 1, size, size]."""
        rows = len(masters)

        def uniform(width: float) -> Tensor:
            return (torch.rand(rows, generator=generator) * 2 - 1) * width

        angle = uniform(math.radians(self.rotation))
        zoom = 1 / (self.magnify * (1 + uniform(self.scale)))
        shift = 2 * self.shift / self.magnify
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        matrix = torch.stack([cos, -sin, uniform(shift), sin, cos, uniform(shift)], dim=1).view(-1, 2, 3)
        if self.shear:
            slope = torch.eye(2).repeat(rows, 1, 1)
            slope[:, 0, 1] = uniform(self.shear)
            matrix = torch.cat([matrix[:, :, :2] @ slope, matrix[:, :, 2:]], dim=2)
        images = []
        for part, theta in zip(masters.split(2048), matrix.split(2048), strict=True):
            if self.fit:
                images.append(self._fitted(part, theta))
                continue
            # Drawn at twice the size and averaged: otherwise thin strokes would fall between the samples.
            grid = F.affine_grid(theta, [len(part), 1, 2 * self.size, 2 * self.size], align_corners=False)
            drawn = F.grid_sample(part[:, None].float().div(255), grid, align_corners=False)
            images.append(F.avg_pool2d(drawn, 2))
        image = torch.cat(images)
        image = self._styled(image, generator)
        return image + self.noise * torch.randn(image.shape, generator=generator) if self.noise else image

    def _fitted(self, masters: Tensor, theta: Tensor) -> Tensor:
        """Transformed masters cut to their bounding boxes, averaged over pixels: [rows, 1, size, size], up to 1."""
        grid = F.affine_grid(theta, [len(masters), 1, CANVAS, CANVAS], align_corners=False)
        drawn = F.grid_sample(masters[:, None].float().div(255), grid, align_corners=False)
        found = []
        for one in drawn[:, 0]:
            down, across = (one.amax(d) > 0.2 for d in (1, 0))
            rows, columns = down.nonzero().flatten(), across.nonzero().flatten()
            box = one[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
            spare = box.shape[0] - box.shape[1]
            sides = (max(spare, 0) // 2, (max(spare, 0) + 1) // 2, max(-spare, 0) // 2, (max(-spare, 0) + 1) // 2)
            found.append(F.adaptive_avg_pool2d(F.pad(box, sides)[None], self.size))
        image = torch.stack(found)
        return image / image.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)

    def _styled(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Inversion, contrast, brightness and blur, each drawn for an image by itself."""

        def drawn() -> Tensor:
            return torch.rand((len(image), 1, 1, 1), generator=generator)

        if self.blur:
            image = _blurred(image, drawn().flatten() * self.blur)
        if self.contrast:
            image = image * (1 - drawn() * self.contrast)
        if self.invert:
            image = torch.where(drawn() < self.invert, 1 - image, image)
        return image + (2 * drawn() - 1) * self.brightness if self.brightness else image


def _blurred(image: Tensor, deviation: Tensor) -> Tensor:
    """Each image [rows, 1, h, w] convolved with a Gaussian of its own ``deviation`` [rows] in pixels."""
    reach = 3
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = (-(offsets**2) / (2 * deviation.clamp_min(1e-3)[:, None] ** 2)).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    rows, _, height, width = image.shape
    across = F.conv2d(image.view(1, rows, height, width), kernel.view(rows, 1, 1, -1), padding=(0, reach), groups=rows)
    both = F.conv2d(across, kernel.view(rows, 1, -1, 1), padding=(reach, 0), groups=rows)
    return both.view(rows, 1, height, width)


@functools.lru_cache(maxsize=4)
def rendered_masters(characters: str, names: tuple[str, ...]) -> Tensor:
    """Each character in each typeface, centred: uint8 [typefaces, characters, canvas, canvas]."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    found = torch.zeros(len(names), len(characters), CANVAS, CANVAS, dtype=torch.uint8)
    for i, name in enumerate(names):
        font = ImageFont.truetype(str(typefaces()[name]), int(CANVAS * 0.68))
        for j, character in enumerate(characters):
            image = Image.new("L", (CANVAS, CANVAS))
            ImageDraw.Draw(image).text((CANVAS / 2, CANVAS / 2), character, fill=255, font=font, anchor="mm")
            found[i, j] = torch.from_numpy(np.asarray(image).copy())
    return found
