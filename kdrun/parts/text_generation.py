"""Parts of the ``generate`` stage: what models write after prompts, token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.models.causal_reading import CachedModel
from kdrun.ops.logits import kl_matched_weights, logit_shift, shift_divergence, top_k_filter, top_p_filter
from kdrun.registry import generate, shape_of
from kdrun.runtime.context import Context
from kdrun.types import Count, Fraction, NonNegative, Positive, Unsigned

__all__ = ["Sampler", "decoding", "fused_decoding"]


class Sampler:
    """Chooses the next token: the likeliest at temperature 0, else at random among those that the filters leave."""

    def __init__(self, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator) -> None:
        self.temperature, self.top_k, self.top_p, self.generator = temperature, top_k, top_p, generator

    def __call__(self, logits: Tensor) -> Tensor:
        """Token ids [rows] of logits [rows, vocabulary]."""
        if self.temperature == 0:
            return logits.argmax(-1)
        logits = logits.float() / self.temperature
        if self.top_k is not None:
            logits = top_k_filter(logits, k=self.top_k)
        if self.top_p is not None:
            logits = top_p_filter(logits, p=self.top_p)
        # Drawn on the CPU, where the stream of random numbers is the same for every device.
        drawn = torch.multinomial(logits.softmax(-1).cpu(), 1, generator=self.generator)
        return drawn[:, 0].to(logits.device)


Combine = Callable[[list[Tensor]], tuple[Tensor, dict[str, Tensor]]]
"""From the logits of each model, [rows, vocabulary], to those that are decoded, and what is recorded of this step."""


@dataclass(frozen=True)
class Decoder:
    """How answers are written, after each prompt of a data set: up to ``max_tokens`` or to a token of ``stop``."""

    sampler: Sampler
    max_tokens: int
    stop: list[int] | None
    padding: int
    batch_size: int
    context: Context

    def written(self, models: list[Module], data: Dataset, combine: Combine) -> Dataset:
        """``data`` with what was written after each row's prompt, and what ``combine`` recorded at each token."""
        _check_prompts(data)
        parts: dict[str, list[Tensor]] = {}
        hardware = self.context.hardware
        with hardware.evaluation():
            for batch in data.batches(self.batch_size, device=self.context.device, workers=hardware.workers):
                mask = batch["mask"].bool() if "mask" in batch else batch["tokens"] != self.padding
                for name, values in self._of_batch(models, batch["tokens"], mask, combine).items():
                    parts.setdefault(name, []).append(values.cpu())
        return data.with_columns({name: torch.cat(values) for name, values in parts.items()})

    def _of_batch(self, models: list[Module], tokens: Tensor, mask: Tensor, combine: Combine) -> dict[str, Tensor]:
        """A row that has ended leaves the batch, and with it all caches."""
        if not bool(mask[:, -1].all()):
            raise InputError("prompts are padded on the left: the last token of a row is real")
        cached = [CachedModel(model) for model in models]
        count, device = len(tokens), tokens.device
        columns = {
            "generated": torch.full((count, self.max_tokens), self.padding, dtype=torch.int64, device=device),
            "emitted": torch.zeros(count, self.max_tokens, device=device),
        }
        ends = torch.tensor(self.stop or [], dtype=torch.int64, device=device)
        rows = torch.arange(count, device=device)
        for step in range(self.max_tokens):
            logits, records = combine([model.next_logits(tokens, mask) for model in cached])
            chosen = self.sampler(logits)
            for name, value in {"generated": chosen, "emitted": torch.ones_like(chosen).float(), **records}.items():
                if name not in columns:
                    shape = (count, *value.shape[1:], self.max_tokens)
                    columns[name] = torch.zeros(shape, dtype=value.dtype, device=device)
                columns[name][rows, ..., step] = value
            going = (~torch.isin(chosen, ends)).nonzero()[:, 0]
            if len(going) == 0:
                break
            if len(going) < len(rows):
                rows, chosen, mask = rows[going], chosen[going], mask[going]
                for model in cached:
                    model.select(going)
            tokens = chosen[:, None]
            mask = torch.cat([mask, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
        return columns


def _check_prompts(data: Dataset) -> None:
    if "tokens" not in data.info.columns:
        raise InputError(f"prompts stand in a column 'tokens'; there are: {', '.join(data.info.columns)}")


def _written_shape(models: list[Module], data: Dataset, combine: Combine, max_tokens: int) -> Dataset:
    """The columns of what is written; one token is enough to know them."""
    _check_prompts(data)
    with torch.no_grad():
        logits, records = combine([CachedModel(model).first_logits(data.column("tokens")) for model in models])
    known = {"generated": logits.argmax(-1), "emitted": logits[:, 0].float(), **records}
    return data.with_columns(
        {n: torch.zeros(len(v), *v.shape[1:], max_tokens, dtype=v.dtype) for n, v in known.items()}
    )


@generate
def decoding(
    model: Module,
    data: Dataset,
    *,
    max_tokens: Count = 64,
    stop: list[Unsigned] | None = None,
    temperature: NonNegative = 0.0,
    top_k: Count | None = None,
    top_p: Fraction | None = None,
    padding: Unsigned = 0,
    batch_size: Count = 128,
    context: Context,
    generator: torch.Generator,
) -> Dataset:
    """What a causal language model writes after prompts: ``data`` with ``generated`` and ``emitted``, [rows, max_tokens].

    ``data.tokens`` [rows, length] are prompts padded on the left, with ``mask`` [rows, length] 0 there; without that
    column, ``padding`` is. ``generated`` (int64) ends with a token of ``stop``, the rest is ``padding``; ``emitted``
    (float32) is 1 where a token was written. Greedy at ``temperature`` 0, else sampled from ``softmax(logits / temperature)``
    among the ``top_k`` likeliest and the nucleus ``top_p`` (Holtzman et al., 2020). Raises ``InputError`` for prompts padded on
    the right, prompts and answers longer than the model reads, or a model that is no causal one.
    """
    sampler = Sampler(temperature, top_k, top_p, generator)
    return Decoder(sampler, max_tokens, stop, padding, batch_size, context).written([model], data, _alone)


@shape_of("generate", "decoding")
def decoding_shape(model: Module, data: Dataset, *, max_tokens: Count = 64, **options: Any) -> Dataset:
    """What one token has, ``max_tokens`` times."""
    return _written_shape([model], data, _alone, max_tokens)


def _alone(logits: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    return logits[0], {}


@generate
def fused_decoding(
    large: Module,
    small: Module,
    experts: list[Module],
    data: Dataset,
    *,
    weights: list[float] | None = None,
    direction: Literal["largest", "mixture"] = "largest",
    largest: Positive = 2.0,
    method: Literal["bisection", "grid"] = "bisection",
    max_tokens: Count = 64,
    stop: list[Unsigned] | None = None,
    temperature: NonNegative = 0.0,
    top_k: Count | None = None,
    top_p: Fraction | None = None,
    padding: Unsigned = 0,
    batch_size: Count = 128,
    context: Context,
    generator: torch.Generator,
) -> Dataset:
    """What a large model writes with the logit shifts of tuned small ones (``experts``) over their base (``small``).

    ``large + Σ_k w_k (expert_k - small)``, all logits [rows, vocabulary] of the same text. ``weights`` fixes one weight an expert,
    or one for all; without it they are found anew for each token and row by matching divergences (``kl_matched_weights``:
    ``direction``, ``largest``, ``method``; Fan et al., 2024). All models share one vocabulary; what one has beyond the shortest
    is cut off. Adds, beside the columns of ``decoding`` (whose other parameters hold), at each token ``weights`` [rows, experts,
    max_tokens], the ``divergence`` of the fused from the large model in nats, the experts' ``mean_divergence`` from the small
    one, and ``mismatch``: the distance of the two where weights were matched and a root lies in range, else 0; all three [rows,
    max_tokens]. Raises ``InputError`` for another number of weights, and what ``decoding`` raises.
    """
    combine = _fusion(len(experts), weights, direction=direction, largest=largest, method=method)
    sampler = Sampler(temperature, top_k, top_p, generator)
    decoder = Decoder(sampler, max_tokens, stop, padding, batch_size, context)
    return decoder.written([large, small, *experts], data, combine)


@shape_of("generate", "fused_decoding")
def fused_decoding_shape(
    large: Module,
    small: Module,
    experts: list[Module],
    data: Dataset,
    *,
    weights: list[float] | None = None,
    direction: Literal["largest", "mixture"] = "largest",
    largest: Positive = 2.0,
    method: Literal["bisection", "grid"] = "bisection",
    max_tokens: Count = 64,
    **options: Any,
) -> Dataset:
    """What one token has, ``max_tokens`` times."""
    combine = _fusion(len(experts), weights, direction=direction, largest=largest, method=method)
    return _written_shape([large, small, *experts], data, combine, max_tokens)


def _fusion(experts: int, weights: list[float] | None, *, direction: Any, largest: float, method: Any) -> Combine:
    """How logits of the large model, the small one and the experts become those that are decoded; see ``fused_decoding``."""
    if weights is not None and len(weights) not in (1, experts):
        raise InputError(f"{experts} experts need as many weights, got {len(weights)}")

    def combine(logits: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        classes = min(value.shape[-1] for value in logits)
        base, reference, *others = [value[:, :classes].float() for value in logits]
        tuned = torch.stack(others)
        if weights is None:
            chosen = kl_matched_weights(base, tuned, reference, direction=direction, largest=largest, method=method)
        else:
            chosen = base.new_tensor(weights).expand(len(base), len(others))
        fused = logit_shift(base, tuned, reference, chosen)
        one = torch.ones_like(base[:, 0])
        moved = shift_divergence(base, fused - base, one)
        wanted = torch.stack([shift_divergence(reference, expert - reference, one) for expert in tuned]).mean(0)
        inside = (chosen.amax(-1) < largest) & (weights is None)
        return fused, {
            "weights": chosen,
            "divergence": moved,
            "mean_divergence": wanted,
            "mismatch": torch.where(inside, (moved - wanted).abs(), torch.zeros_like(moved)),
        }

    return combine
