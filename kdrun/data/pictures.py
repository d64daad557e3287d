"""Rows of images as small pictures for pages."""

from __future__ import annotations

import base64
import io

import torch
from torch import Tensor

__all__ = ["picture"]

EDGE = 48
"""The longest edge of a picture, in pixels: two dozen of noise weigh a quarter of a megabyte."""


def picture(image: Tensor, *, bounds: tuple[float, float] | None = None) -> str | None:
    """A PNG as a data URI of an image [1 or 3, height, width] (floating point); of anything else None.

    The lower of ``bounds`` is black and the upper white; without them the image's least and greatest values.
    """
    from PIL import Image

    if image.dim() != 3 or image.shape[0] not in (1, 3) or not image.is_floating_point() or not image.numel():
        return None
    found = torch.nan_to_num(image.detach().float().cpu())
    low, high = (found.min(), found.max()) if bounds is None else torch.tensor(bounds)
    levels = ((found - low) / (high - low).clamp(min=1e-12) * 255).round().clamp(0, 255).to(torch.uint8)
    pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
    drawn = Image.fromarray(pixels.contiguous().numpy())
    drawn.thumbnail((EDGE, EDGE))
    file = io.BytesIO()
    drawn.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
