"""Reading and shaping images, for the parts whose data lie in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kdrun.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "decode", "image_tensor", "read_image", "standardized"]

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of ImageNet's training images, by channel, in [0, 1]."""

GREY_LEVELS = 65535
"""What white is in a grey image of 16 bits; Pillow reads some of them as 32-bit integers."""


def decode(path: Path, *, size: int, resize: int, channels: int, background: float = 1.0) -> Tensor:
    """Read an image file as float32 [channels, size, size] in [0, 1]: shorter side to ``resize``, centre crop.

    As ``read_image``, upright. Raises ``DataError`` naming a file that is missing or broken.
    """
    from PIL.Image import Resampling

    image = read_image(path, channels=channels, background=background)
    scale = resize / min(image.size)
    shape = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
    image = image.resize(shape, Resampling.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image_tensor(image.crop((left, top, left + size, top + size)), channels)


def read_image(path: Path, *, channels: int, background: float = 1.0, upright: bool = True) -> Image:
    """Read any kind of image file: in mode RGB (3 channels) or L, or in mode F with values in [0, 1] if it is deeper.

    16-bit greys are divided by 65535, floats are taken as they are; bits, palettes and other colour spaces are
    converted. What is transparent shows ``background``, a grey in [0, 1]. ``upright`` turns the image as its EXIF
    orientation says. Raises ``DataError`` naming a file that is missing, broken, or with values outside the range.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image: Any = ImageOps.exif_transpose(opened) if upright else opened
            if image.mode == "F" or image.mode.startswith("I"):
                return _deep(image)
            if image.has_transparency_data:
                image = _composed(image, background)
            return image.convert("RGB" if channels == 3 else "L")
    except FileNotFoundError:
        raise DataError(f"the image {path} is missing") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"the image {path} is broken: {error}") from None


def _deep(image: Any) -> Image:
    """A float image of a grey one with integers of 16 bits or more, or floats. Raises ``ValueError`` for other ranges."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float32)
    top = 1 if image.mode == "F" else GREY_LEVELS
    if not (values.min() >= 0 and values.max() <= top):
        raise ValueError(f"its values go from {values.min():g} to {values.max():g}, expected 0 to {top}")
    return Image.fromarray(values / top)


def _composed(image: Any, background: float) -> Any:
    from PIL import Image

    shown = image.convert("RGBA")
    below = Image.new("RGBA", shown.size, (round(255 * background),) * 3 + (255,))
    return Image.alpha_composite(below, shown)


def image_tensor(image: Image, channels: int) -> Tensor:
    """An image as ``read_image`` gives it, as float32 [channels, height, width] in [0, 1]."""
    import numpy as np

    array = torch.from_numpy(np.array(image))
    if array.dtype == torch.float32:
        return array.expand(channels, -1, -1).contiguous()
    tensor = array.float().div_(255)
    return tensor.permute(2, 0, 1).contiguous() if channels == 3 else tensor[None]


def standardized(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """``(images - mean) / std`` by channel, for images [..., channels, height, width]."""
    shape = (-1, 1, 1)
    return (images - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
