"""Reading and shaping images, for the parts whose data lie in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.errors import DataError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "decode", "standardized"]

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of ImageNet's training images, by channel, in [0, 1]."""


def decode(path: Path, *, size: int, resize: int, channels: int) -> Tensor:
    """Read an image file as float32 [channels, size, size] in [0, 1]: shorter side to ``resize``, centre crop.

    Raises ``DataError`` naming a file that is missing or broken.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB" if channels == 3 else "L")
            scale = resize / min(image.size)
            shape = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
            image = image.resize(shape, Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise DataError(f"the image {path} is missing") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"the image {path} is broken: {error}") from None
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return _tensor(image.crop((left, top, left + size, top + size)), channels)


def _tensor(image: Any, channels: int) -> Tensor:
    import numpy as np

    array = np.asarray(image, dtype=np.uint8)
    tensor = torch.from_numpy(array.copy()).float().div_(255)
    return tensor.permute(2, 0, 1).contiguous() if channels == 3 else tensor[None]


def standardized(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """``(images - mean) / std`` by channel, for images [..., channels, height, width]."""
    shape = (-1, 1, 1)
    return (images - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
