"""Photographs of crowds with annotated heads: finding the annotations, reading them, fitting the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.data.density_maps import adaptive_deviation, points_to_density
from kdrun.data.images import IMAGENET_MEAN, IMAGENET_STD, image_tensor, read_image, standardized
from kdrun.data.text_reading import read_text
from kdrun.errors import DataError

__all__ = ["CrowdReader", "annotation_of"]


def annotation_of(picture: Path) -> Path:
    """The file with a picture's heads. Raises ``DataError`` naming the places where it could be."""
    places = [
        picture.with_suffix(".json"),
        picture.with_name(f"{picture.stem}_ann.mat"),
        picture.parent.parent / "ground_truth" / f"GT_{picture.stem}.mat",
    ]
    found = next((p for p in places if p.is_file()), None)
    if found is None:
        raise DataError(
            f"the heads of {picture} are missing: expected {' or '.join(map(str, places))}", key="data.root"
        )
    return found


class CrowdReader:
    """Decodes picture ``i`` with its density; picklable, for worker processes."""

    def __init__(
        self, files: list[Path], height: int, width: int, factor: float, deviation: float | None, stride: int
    ) -> None:
        self.files, self.height, self.width = files, height, width
        self.factor, self.deviation, self.stride = factor, deviation, stride

    def __call__(self, row: int) -> dict[str, Tensor]:
        path = self.files[row]
        image, scale = _fitted(path, self.height, self.width)
        limit = torch.tensor([image.shape[2], image.shape[1]])
        points = _heads(annotation_of(path)) * scale
        points = points[((points >= 0) & (points <= limit)).all(1)]  # a few annotations lie outside the picture
        padding = (0, self.width - image.shape[2], 0, self.height - image.shape[1])
        spread = adaptive_deviation(points, factor=self.factor, alone=(self.height + self.width) / 8)
        if self.deviation is not None:
            spread = torch.full_like(spread, self.deviation)
        density = points_to_density(points, self.height, self.width, spread, stride=self.stride)
        padded = F.pad(standardized(image, IMAGENET_MEAN, IMAGENET_STD), padding)
        return {"image": padded, "density": density, "count": torch.tensor(float(len(points)))}


def _heads(path: Path) -> Tensor:
    """Points [count, 2] as (x, y) in pixels from an annotation file."""
    try:
        content = _mat_points(path) if path.suffix == ".mat" else json.loads(read_text(path))
        points = torch.as_tensor(content, dtype=torch.float32)
        if points.numel() and (points.dim() != 2 or points.shape[1] != 2):
            raise ValueError(f"shape {list(points.shape)}")
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"the heads in {path} are broken: expected [[x, y], ...] in pixels ({error})") from None
    return points.reshape(-1, 2)


def _mat_points(path: Path) -> Any:
    from scipy.io import loadmat

    content = loadmat(path)
    return content["annPoints"] if "annPoints" in content else content["image_info"][0, 0][0, 0][0]


def _fitted(path: Path, height: int, width: int) -> tuple[Tensor, float]:
    """A picture [3, h, w] in [0, 1], scaled so that it just fits, and the scale. Raises ``DataError`` for a broken file.

    It is not turned: annotations count the pixels of the file.
    """
    from PIL.Image import Resampling

    image = read_image(path, channels=3, upright=False)
    scale = min(height / image.height, width / image.width)
    shape = (min(width, round(image.width * scale)), min(height, round(image.height * scale)))
    return image_tensor(image.resize(shape, Resampling.BILINEAR), 3), scale
