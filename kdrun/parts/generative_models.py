"""Parts of the ``generate`` stage that draw noise and samples of generative models."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Column, DataInfo, Dataset, MemoryDataset
from kdrun.ops.diffusion import ddim_step as step
from kdrun.ops.diffusion import noisy_from_signal, signal_from_noisy, signal_from_prediction
from kdrun.registry import generate, shape_of
from kdrun.runtime.context import Context
from kdrun.types import Count, Fraction

__all__ = ["class_conditional", "class_requests", "ddim", "one_call", "standard_normal"]


@generate
def standard_normal(data: Dataset, *, rows: Count, column: str = "image", generator: torch.Generator) -> Dataset:
    """Noise of the shape of one column of ``data``, of which nothing else is read: column ``noise`` [rows, ...] (float32).

    >>> pool = data.MemoryDataset({"image": torch.zeros(2, 1, 8, 8)}, data.DataInfo({"image": data.Column((1, 8, 8))}))
    >>> parts.standard_normal(pool, rows=3, generator=torch.Generator()).column("noise").shape
    torch.Size([3, 1, 8, 8])
    """
    noise = torch.randn(rows, *data.info.columns[column].shape, generator=generator)
    return MemoryDataset({"noise": noise}, _info(noise=noise))


@generate
def class_conditional(
    model: Module,
    *,
    classes: Count,
    per_class: Count,
    latent: Count,
    batch_size: Count = 512,
    context: Context,
    generator: torch.Generator,
) -> Dataset:
    """``per_class`` samples of each class of a conditional generator: columns ``latent``, ``label`` (asked for) and ``image``.

    ``model`` maps latents [rows, latent], standard normal, and labels [rows] (int64) to images [rows, ...]; classes stand one
    after the other. All is float32 but ``label``.
    """
    label = torch.arange(classes).repeat_interleave(per_class)
    noise = torch.randn(len(label), latent, generator=generator)
    with context.hardware.evaluation():
        pairs = zip(noise.split(batch_size), label.split(batch_size), strict=True)
        image = torch.cat([model(z.to(context.device), y.to(context.device)).float().cpu() for z, y in pairs])
    columns = {"image": image, "latent": noise, "label": label}
    return MemoryDataset(columns, replace(_info(**columns), classes=classes))


@shape_of("generate", "class_conditional")
def class_conditional_shape(
    model: Module, *, classes: Count, per_class: Count, latent: Count, context: Context, **options: Any
) -> Dataset:
    """One sample of each class stands for all."""
    one = class_conditional(
        model, classes=classes, per_class=1, latent=latent, context=context, generator=torch.Generator()
    )
    rows = classes * per_class
    columns = {name: one.column(name) for name in one.info.columns}
    many = {name: value.new_empty(rows, *value.shape[1:]) for name, value in columns.items()}
    return MemoryDataset(many, replace(_info(**many), classes=classes))


@generate
def class_requests(*, classes: Count, per_class: Count) -> Dataset:
    """Rows that only say which class is wanted: column ``label`` (int64), ``per_class`` rows of each, one class after the other.

    >>> parts.class_requests(classes=2, per_class=2).column("label")
    tensor([0, 0, 1, 1])
    """
    label = torch.arange(classes).repeat_interleave(per_class)
    return MemoryDataset({"label": label}, replace(_info(label=label), classes=classes))


@generate(random=False)
def one_call(
    model: Module,
    data: Dataset,
    *,
    time: Fraction = 0.0,
    column: str = "image",
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """What a generator says of each row of ``noise`` in one call at ``time``: the data with that as a ``column`` [rows, ...].

    ``model`` maps noise [rows, ...] and a time in [0, 1] to samples [rows, ...]; they are kept as float32.
    """
    with context.hardware.evaluation():
        batches = data.batches(batch_size, device=context.device)
        images = [model(batch["noise"], time).float().cpu() for batch in batches]
    return data.with_columns({column: torch.cat(images)})


@generate(random=False)
def ddim(
    model: Module,
    data: Dataset,
    *,
    steps: Count,
    start: Fraction = 0.98,
    predicts: Literal["signal", "noise", "velocity"] = "signal",
    schedule: Literal["cosine", "linear"] = "cosine",
    start_from: Literal["noise", "first_answer"] = "noise",
    record: list[Fraction] = (),  # type: ignore[assignment]
    column: str = "image",
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Deterministic samples of a diffusion model from ``noise``, in ``steps`` equal steps from time ``start`` to 0.

    ``model`` maps samples [rows, ...] and a time in [0, 1] to the signal, the noise or the velocity, as ``predicts`` says. A step
    from t to s is ``x_s = α_s f + σ_s (x_t - α_t f) / σ_t``, f the signal (Song, Meng & Ermon, 2021, equation 12, η = 0). Adds the
    samples as a ``column`` [rows, ...] (float32) and, for the i-th time in ``record``, ``signal_i``: the signal of the path at
    the grid time next to it (``start`` included, 0 not). ``first_answer`` starts from ``α f + σ ε``, f the answer to the noise,
    as if the path had been on its own signal before.
    """
    times = _times(start, steps)
    recorded = _recorded(times, record)
    found: dict[str, list[Tensor]] = {}
    with context.hardware.evaluation():
        for batch in data.batches(batch_size, device=context.device):
            signals, sample = _sampled(model, batch["noise"], times, recorded, predicts, schedule, start_from)
            for name, values in {**signals, column: sample}.items():
                found.setdefault(name, []).append(values.float().cpu())
    return data.with_columns({name: torch.cat(parts) for name, parts in found.items()})


@shape_of("generate", "ddim")
def ddim_shape(
    model: Module,
    data: Dataset,
    *,
    steps: Count,
    start: Fraction = 0.98,
    record: list[Fraction] = (),  # type: ignore[assignment]
    column: str = "image",
    context: Context,
    **options: Any,
) -> Dataset:
    """One step stands for all; a signal has the shape of a sample."""
    found = ddim(model, data, steps=1, start=start, column=column, context=context, **options).column(column)
    recorded = _recorded(_times(start, steps), record)
    return data.with_columns({**{recorded[i]: found for i in sorted(recorded)}, column: found})


def _times(start: float, steps: int) -> list[float]:
    """The grid of times, from ``start`` down to 0: ``steps + 1`` of them."""
    return [start * (1 - i / steps) for i in range(steps + 1)]


def _recorded(times: list[float], record: list[float]) -> dict[int, str]:
    """The column for the signal at a place in the grid, for those places next to a time in ``record``."""
    return {min(range(len(times) - 1), key=lambda k: abs(times[k] - t)): f"signal_{i}" for i, t in enumerate(record)}


def _sampled(
    model: Module,
    noise: Tensor,
    times: list[float],
    recorded: dict[int, str],
    predicts: Any,
    schedule: Any,
    start_from: str,
) -> tuple[dict[str, Tensor], Tensor]:
    """The recorded signals by column, and the sample at the end of the path, all [rows, ...]."""
    signals, noisy = {}, noise
    for i, pair in enumerate(itertools.pairwise(times)):
        now, earlier = (torch.as_tensor(t, dtype=noise.dtype, device=noise.device) for t in pair)
        signal = signal_from_prediction(model(noisy, now), noisy, now, predicts=predicts, schedule=schedule)
        if i == 0 and start_from == "first_answer":
            noisy = noisy_from_signal(signal, noise, now, schedule=schedule)
        if i in recorded:
            signals[recorded[i]] = signal_from_noisy(noisy, noise, now, schedule=schedule) if i else signal
        noisy = step(noisy, signal, now, earlier, schedule=schedule)
    return signals, noisy


def _info(**columns: Tensor) -> DataInfo:
    return DataInfo({name: Column(tuple(value.shape[1:]), value.dtype) for name, value in columns.items()})
