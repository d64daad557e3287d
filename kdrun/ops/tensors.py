"""Plain tensor functions that step graphs are wired with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count, Fraction, Positive, Unsigned

__all__ = [
    "add",
    "at_least",
    "capped",
    "columns",
    "concatenate",
    "constant",
    "detach",
    "divide",
    "equals",
    "exp",
    "filled",
    "flatten",
    "floor_divide",
    "gather",
    "global_average_pool",
    "hard_label",
    "indicator",
    "interpolate",
    "log_softmax",
    "mean",
    "merge_rows",
    "mix_losses",
    "multiply",
    "normalize",
    "one_hot",
    "parameter",
    "parameter_count",
    "reshape_rows",
    "resize_maps",
    "rotation_views",
    "row_norm",
    "scale",
    "softmax",
    "split_rows",
    "stack",
    "standardize",
    "subtract",
    "sum_squares",
    "tokens_from_map",
    "weighted_sum",
]


def indicator(labels: Tensor, classes: int) -> Tensor:
    """Boolean rows [..., classes] of labels [...]; unlike ``F.one_hot`` it never waits for the device to read values."""
    return labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)


@op
def gather(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of a matrix [count, ...] at ``index`` (int64, any shape): [*index, ...]."""
    return rows[index]


@op
def constant(*, shape: list[Count], value: float = 0.0) -> Tensor:
    """A tensor of this shape, filled with one value."""
    return torch.full(shape, value)


@op
def detach(value: Tensor) -> Tensor:
    """The value without its gradient (stop-gradient)."""
    return value.detach()


@op
def scale(value: Tensor, *, by: float) -> Tensor:
    """``by`` times the value."""
    return by * value


@op
def add(*values: Tensor) -> Tensor:
    """Sum of tensors that broadcast to one shape."""
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


@op
def subtract(first: Tensor, second: Tensor) -> Tensor:
    """``first - second``."""
    return first - second


@op
def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Elementwise product; a weight a row [batch] is spread over the other axes of [batch, ...]."""
    if first.dim() < second.dim():
        first, second = second, first
    return first * second.reshape(*second.shape, *(1,) * (first.dim() - second.dim()))


@op
def interpolate(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """``share · first + (1 - share) · second``, a share a row [batch], spread over the other axes of [batch, ...]."""
    return multiply(first, share) + multiply(second, 1 - share)


@op
def equals(values: Tensor, *, value: float) -> Tensor:
    """Where the elements are this value: bool of the same shape."""
    return values == value


@op
def at_least(values: Tensor, *, value: float) -> Tensor:
    """Where the elements are this value or more: bool of the same shape."""
    return values >= value


@op
def filled(like: Tensor, *, value: float) -> Tensor:
    """A tensor of the shape of ``like``, filled with one value; no gradient."""
    return torch.full_like(like, value)


@op
def divide(first: Tensor, second: Tensor, *, eps: Positive = 1e-12) -> Tensor:
    """Elementwise quotient; a divisor below ``eps`` counts as ``eps``."""
    return first / second.clamp_min(eps)


@op
def floor_divide(values: Tensor, *, by: Count) -> Tensor:
    """Whole numbers divided by ``by``, rounded down."""
    return values // by


@op
def split_rows(value: Tensor, *, share: Fraction = 0.5) -> dict[str, Tensor]:
    """The rows cut in two: ``first``, a ``share`` of them (at least one), and ``second``, the others."""
    count = min(max(round(share * len(value)), 1), len(value) - 1)
    return {"first": value[:count], "second": value[count:]}


@op
def row_norm(value: Tensor, *, order: Positive = 2.0) -> Tensor:
    """The norm of each row, flattened: [batch] of [batch, ...]."""
    return value.flatten(1).norm(p=order, dim=1)


@op
def weighted_sum(*values: Tensor, weights: list[float]) -> Tensor:
    """``Σ weights[i] · values[i]``; tensors of one shape, one weight each.

    Raises ``ValueError`` if the numbers of weights and tensors differ.
    """
    if len(values) != len(weights):
        raise ValueError(f"weighted_sum has {len(values)} tensors and {len(weights)} weights")
    result = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        result = result + weight * value
    return result


@op
def mean(*values: Tensor) -> Tensor:
    """Of one tensor, the mean over all its elements; of several of one shape, their elementwise mean."""
    if len(values) == 1:
        return values[0].mean()
    return torch.stack(values).mean(0)


@op
def sum_squares(value: Tensor) -> Tensor:
    """Sum of the squares of all elements."""
    return value.square().sum()


@op
def capped(value: Tensor, *, cap: float) -> Tensor:
    """``min(value, cap)``, with no gradient above the cap (Nix et al., 2023)."""
    return value.clamp(max=cap)


@op
def concatenate(*values: Tensor, dim: int = 1) -> Tensor:
    """Tensors joined along an axis."""
    return torch.cat(values, dim=dim)


@op
def stack(*values: Tensor, dim: int = 0) -> Tensor:
    """Tensors of one shape stacked along a new axis: ``count`` of [batch, ...] as [count, batch, ...]."""
    return torch.stack(values, dim=dim)


@op
def columns(value: Tensor, *, index: list[Unsigned]) -> Tensor:
    """Entries of the last axis at ``index``: [..., len(index)]."""
    return value[..., index]


@op
def exp(value: Tensor) -> Tensor:
    """The exponential of every element."""
    return value.exp()


@op
def parameter(parameters: dict[str, Tensor], *, name: str) -> Tensor:
    """One parameter of a model by its name; ``from: [model]`` hands all of them over.

    Raises ``KeyError`` if the model has no such parameter.
    """
    return parameters[name]


@op
def parameter_count(parameters: dict[str, Tensor]) -> Tensor:
    """How many numbers a model has: a scalar (float64); ``from: [model]`` hands its parameters over."""
    return torch.tensor(float(sum(p.numel() for p in parameters.values())), dtype=torch.float64)


@op
def flatten(value: Tensor) -> Tensor:
    """[batch, ...] as [batch, features]."""
    return value.flatten(1)


@op
def reshape_rows(value: Tensor, *, shape: list[Count]) -> Tensor:
    """[batch, ...] with each row in another shape: [batch, *shape]."""
    return value.reshape(len(value), *shape)


@op
def merge_rows(value: Tensor) -> Tensor:
    """Tokens [batch, count, ...] as rows [batch·count, ...]."""
    return value.flatten(0, 1)


@op
def global_average_pool(maps: Tensor) -> Tensor:
    """Mean over all axes after the second: [batch, channels, ...] to [batch, channels]."""
    return maps.flatten(2).mean(2)


@op
def resize_maps(maps: Tensor, like: Tensor) -> Tensor:
    """Average-pool maps [batch, channels, h, w] to the size of ``like`` [batch, any, h', w'] where that is smaller."""
    size = (min(maps.shape[2], like.shape[2]), min(maps.shape[3], like.shape[3]))
    return maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size)


@op
def tokens_from_map(maps: Tensor, *, grid: Count = 4) -> Tensor:
    """Average-pool maps [batch, channels, h, w] to ``grid``² cells as tokens [batch, cells, channels].

    A map that is no larger than the grid is used as it is.
    """
    size = (min(grid, maps.shape[2]), min(grid, maps.shape[3]))
    return F.adaptive_avg_pool2d(maps, size).flatten(2).transpose(1, 2)


@op
def rotation_views(image: Tensor) -> Tensor:
    """Each image turned by 0, 90, 180 and 270 degrees: [batch, channels, n, n] to [4·batch, ...], rows 4i..4i+3 of image i."""
    return torch.stack([image.rot90(turns, (2, 3)) for turns in range(4)], dim=1).flatten(0, 1)


@op
def standardize(value: Tensor, *, eps: Positive = 1e-5) -> Tensor:
    """Subtract each feature's mean over the batch and divide by its (biased) deviation: batch norm without parameters."""
    return (value - value.mean(0)) / (value.var(0, unbiased=False) + eps).sqrt()


@op
def normalize(value: Tensor, *, dim: int = 1, order: Positive = 2.0) -> Tensor:
    """Divide by the norm of this order (2: Euclidean) along an axis; zero stays zero."""
    return F.normalize(value, p=order, dim=dim)


@op
def softmax(
    logits: Tensor, temperatures: Tensor | None = None, *, temperature: Positive = 1.0, dim: int = -1
) -> Tensor:
    """Softmax of ``logits / temperature`` along an axis.

    ``temperatures`` (the shape of ``logits`` without that axis) gives each row one of its own instead.
    """
    return (logits / (temperature if temperatures is None else temperatures.unsqueeze(dim))).softmax(dim)


@op
def log_softmax(logits: Tensor, *, temperature: Positive = 1.0, dim: int = -1) -> Tensor:
    """Logarithm of the softmax of ``logits / temperature`` along an axis."""
    return (logits / temperature).log_softmax(dim)


@op
def hard_label(logits: Tensor) -> Tensor:
    """Index of the largest entry of the last axis: [batch, classes] to [batch] (int64)."""
    return logits.argmax(-1)


@op
def one_hot(labels: Tensor, *, classes: Count) -> Tensor:
    """Labels [batch] (int64) as indicator rows [batch, classes], float32."""
    return indicator(labels, classes).float()


@op
def mix_losses(first: Tensor, second: Tensor, alpha: Tensor) -> Tensor:
    """Mean over the batch of ``alpha * first + (1 - alpha) * second``, all [batch].

    Raises ``ValueError`` if the shapes differ: an ``alpha`` [batch, 1] would mix every pair of rows.
    """
    if not first.shape == second.shape == alpha.shape:
        shapes = ", ".join(str(list(value.shape)) for value in (first, second, alpha))
        raise ValueError(f"mix_losses needs three tensors of one shape, got {shapes}")
    return (alpha * first + (1 - alpha) * second).mean()
