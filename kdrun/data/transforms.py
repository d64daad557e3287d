"""Random transforms of whole batches, drawn from the generator they are given.

Each takes and returns a batch ``{column: [rows, ...]}`` and leaves columns other than ``image`` alone,
unless it says otherwise. Random numbers are drawn on the generator's device and moved to the batch's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.errors import DataError
from kdrun.registry import transform
from kdrun.types import Fraction, NonNegative, Positive, Unsigned

__all__ = [
    "gaussian_noise",
    "mixup",
    "random_affine",
    "random_crop",
    "random_erasing",
    "random_horizontal_flip",
    "random_resized_crop",
    "random_window",
]

Batch = dict[str, Tensor]


def _uniform(rows: int, low: float, high: float, image: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.rand(rows, generator=generator, device=generator.device) * (high - low) + low).to(image.device)


def _with_image(batch: Batch, image: Tensor) -> Batch:
    return {**batch, "image": image}


def _resample(image: Tensor, matrix: Tensor) -> Tensor:
    """Sample [rows, channels, h, w] through inverse affine maps [rows, 2, 3] in coordinates from -1 to 1."""
    grid = F.affine_grid(matrix.to(image.dtype), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, align_corners=False, padding_mode="zeros")


@transform
def random_horizontal_flip(
    batch: Batch,
    *,
    probability: Fraction = 0.5,
    columns: list[str] = (),  # type: ignore[assignment]
    generator: torch.Generator,
) -> Batch:
    """Mirror each image with a ``probability``, and with it its maps in further ``columns``.

    Reads and gives ``image`` and these columns [rows, channels, h, w].

    >>> batch = {"image": torch.tensor([[[[1.0, 2.0]]]])}
    >>> data.random_horizontal_flip(batch, probability=1.0, generator=torch.Generator())["image"]
    tensor([[[[2., 1.]]]])
    """
    flip = (_uniform(len(batch["image"]), 0.0, 1.0, batch["image"], generator) < probability).view(-1, 1, 1, 1)
    return {**batch, **{n: torch.where(flip, batch[n].flip(3), batch[n]) for n in ("image", *columns)}}


@transform
def random_window(
    batch: Batch,
    *,
    smallest: Fraction = 0.5,
    largest: Fraction = 1.0,
    columns: list[str] = (),  # type: ignore[assignment]
    generator: torch.Generator,
) -> Batch:
    """Cut one random window from all images, each side ``smallest`` to ``largest`` of the whole, and do not resize it.

    Reads ``image`` [rows, channels, h, w] and maps [rows, channels, h / f, w / f] in further ``columns``, which may be
    smaller than the images by whole factors f: sides and corners of the window are multiples of the largest one, so
    that images and maps stay aligned. Raises ``DataError`` if maps do not divide the images.

    >>> batch = {"image": torch.zeros(2, 3, 32, 32), "density": torch.zeros(2, 1, 8, 8)}
    >>> cut = data.random_window(batch, smallest=0.5, largest=0.5, columns=["density"], generator=torch.Generator())
    >>> cut["image"].shape, cut["density"].shape
    (torch.Size([2, 3, 16, 16]), torch.Size([2, 1, 4, 4]))
    """
    height, width = batch["image"].shape[2:]
    names = ("image", *columns)
    factors = {name: height // max(batch[name].shape[2], 1) for name in names}
    if any(batch[n].shape[2] * f != height or batch[n].shape[3] * f != width for n, f in factors.items()):
        raise DataError(
            f"the maps in {', '.join(columns)} do not divide images of {height} by {width}", key="data.augment"
        )
    step = max(factors.values())
    share = _uniform(4, 0.0, 1.0, batch["image"], generator).tolist()
    top, tall = _interval(height // step, smallest + (largest - smallest) * share[0], share[1])
    left, wide = _interval(width // step, smallest + (largest - smallest) * share[2], share[3])
    cut = {}
    for name, factor in factors.items():
        scale = step // factor
        cut[name] = batch[name][:, :, scale * top : scale * (top + tall), scale * left : scale * (left + wide)]
    return {**batch, **cut}


def _interval(cells: int, part: float, place: float) -> tuple[int, int]:
    """Start and length of a ``part`` of ``cells``, rounded; ``place`` in [0, 1) says where of all starts that fit."""
    length = max(1, round(cells * part))
    return min(int(place * (cells - length + 1)), cells - length), length


@transform
def random_crop(batch: Batch, *, padding: Unsigned = 4, generator: torch.Generator) -> Batch:
    """Pad each image by ``padding`` pixels of zeros and cut the old size at a random place.

    Reads and gives ``image`` [rows, channels, h, w].

    >>> batch = {"image": torch.ones(2, 3, 8, 8)}
    >>> data.random_crop(batch, padding=2, generator=torch.Generator())["image"].shape
    torch.Size([2, 3, 8, 8])
    """
    image = batch["image"]
    rows, _, height, width = image.shape
    padded = F.pad(image, (padding,) * 4)
    top = _uniform(rows, 0, 2 * padding + 1, image, generator).long().clamp_max(2 * padding)
    left = _uniform(rows, 0, 2 * padding + 1, image, generator).long().clamp_max(2 * padding)
    down = top[:, None] + torch.arange(height, device=image.device)
    across = left[:, None] + torch.arange(width, device=image.device)
    row = torch.arange(rows, device=image.device)[:, None, None]
    return _with_image(
        batch, padded.permute(0, 2, 3, 1)[row, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2).contiguous()
    )


@transform
def random_affine(
    batch: Batch,
    *,
    degrees: NonNegative = 10.0,
    translate: NonNegative = 0.1,
    scale: NonNegative = 0.1,
    shear: NonNegative = 0.0,
    generator: torch.Generator,
) -> Batch:
    """Turn by up to ``degrees``, move and zoom by up to these shares of the side, shear by up to ``shear`` degrees.

    ``translate`` and ``scale`` are the shares; all are drawn uniformly an image, in both directions. Reads and gives
    ``image`` [rows, channels, h, w], bilinear, 0 outside.

    >>> batch = {"image": torch.rand(2, 1, 8, 8)}
    >>> still = data.random_affine(batch, degrees=0.0, translate=0.0, scale=0.0, generator=torch.Generator())
    >>> torch.allclose(still["image"], batch["image"], atol=1e-5)
    True
    """
    image = batch["image"]
    rows = len(image)
    angle = _uniform(rows, -1, 1, image, generator) * math.radians(degrees)
    slant = torch.tan(_uniform(rows, -1, 1, image, generator) * math.radians(shear))
    zoom = 1 / (1 + _uniform(rows, -scale, scale, image, generator))
    x, y = (_uniform(rows, -2 * translate, 2 * translate, image, generator) for _ in range(2))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.stack([cos, slant * cos - sin, x, sin, slant * sin + cos, y], dim=1).view(-1, 2, 3)
    return _with_image(batch, _resample(image, matrix))


@transform
def random_resized_crop(
    batch: Batch, *, smallest: Fraction = 0.08, ratio: Positive = 1.3333, generator: torch.Generator
) -> Batch:
    """Cut a random part (``smallest`` to 1 of the area, sides up to ``ratio``) and bring it back to full size.

    ``ratio`` is that of the sides, drawn evenly in its logarithm between ``1 / ratio`` and itself. Reads and gives
    ``image`` [rows, channels, h, w], bilinear.

    >>> batch = {"image": torch.ones(2, 1, 8, 8)}
    >>> data.random_resized_crop(batch, smallest=0.5, generator=torch.Generator())["image"].shape
    torch.Size([2, 1, 8, 8])
    """
    image = batch["image"]
    rows = len(image)
    area = _uniform(rows, smallest, 1.0, image, generator)
    aspect = torch.exp(_uniform(rows, -math.log(ratio), math.log(ratio), image, generator))
    width, height = (area * aspect).sqrt().clamp_max(1.0), (area / aspect).sqrt().clamp_max(1.0)
    x = _uniform(rows, -1, 1, image, generator) * (1 - width)
    y = _uniform(rows, -1, 1, image, generator) * (1 - height)
    zero = torch.zeros_like(x)
    matrix = torch.stack([width, zero, x, zero, height, y], dim=1).view(-1, 2, 3)
    return _with_image(batch, _resample(image, matrix))


@transform
def gaussian_noise(batch: Batch, *, std: NonNegative = 0.1, generator: torch.Generator) -> Batch:
    """Add independent normal noise of standard deviation ``std`` to ``image`` [rows, channels, h, w].

    >>> batch = {"image": torch.zeros(100, 1, 8, 8)}
    >>> noisy = data.gaussian_noise(batch, std=0.5, generator=torch.Generator().manual_seed(0))["image"]
    >>> bool((noisy.std() - 0.5).abs() < 0.02)
    True
    """
    image = batch["image"]
    noise = torch.randn(image.shape, generator=generator, device=generator.device).to(image)
    return _with_image(batch, image + std * noise)


@transform
def random_erasing(
    batch: Batch, *, probability: Fraction = 0.5, side: Fraction = 0.3, generator: torch.Generator
) -> Batch:
    """Blank a square of ``side`` times the image's side at a random place, with a ``probability`` an image.

    Reads and gives ``image`` [rows, channels, h, w]; blank is 0.

    >>> batch = {"image": torch.ones(1, 1, 10, 10)}
    >>> data.random_erasing(batch, probability=1.0, side=0.3, generator=torch.Generator())["image"].sum()
    tensor(91.)
    """
    image = batch["image"]
    rows, _, height, width = image.shape
    tall, wide = max(1, round(side * height)), max(1, round(side * width))
    top = _uniform(rows, 0, height - tall + 1, image, generator).floor().view(-1, 1, 1)
    left = _uniform(rows, 0, width - wide + 1, image, generator).floor().view(-1, 1, 1)
    down = torch.arange(height, device=image.device).view(1, -1, 1)
    across = torch.arange(width, device=image.device).view(1, 1, -1)
    inside = (down >= top) & (down < top + tall) & (across >= left) & (across < left + wide)
    chosen = (_uniform(rows, 0.0, 1.0, image, generator) < probability).view(-1, 1, 1)
    return _with_image(batch, image.masked_fill((inside & chosen)[:, None], 0.0))


@transform
def mixup(batch: Batch, *, alpha: Positive = 0.2, generator: torch.Generator) -> Batch:
    """Blend each image with another one of the batch (Zhang et al., 2018).

    Reads ``image`` [rows, channels, h, w] and ``label`` [rows]. Adds ``other_label`` and ``mix`` [rows], the weight of
    the row's own label, drawn from Beta(``alpha``, ``alpha``).

    >>> batch = {"image": torch.rand(4, 1, 8, 8), "label": torch.arange(4)}
    >>> mixed = data.mixup(batch, generator=torch.Generator().manual_seed(0))
    >>> sorted(mixed), mixed["mix"].shape
    (['image', 'label', 'mix', 'other_label'], torch.Size([4]))
    """
    image = batch["image"]
    rows = len(image)
    order = torch.randperm(rows, generator=generator, device=generator.device).to(image.device)
    mix = _beta(rows, alpha, generator).to(image)
    weight = mix.view(-1, 1, 1, 1)
    blended = weight * image + (1 - weight) * image[order]
    return {**batch, "image": blended, "other_label": batch["label"][order], "mix": mix}


def _beta(rows: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Symmetric beta draws as quantiles of uniforms: torch's own sampler takes no generator."""
    from scipy.special import betaincinv

    uniform = torch.rand(rows, generator=generator, device=generator.device, dtype=torch.float64)
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.cpu().numpy())).float()
