"""Transformers from sets of points to sets of estimates."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Fraction, Positive

__all__ = ["SetPredictionTransformer"]


class CrossAttention(nn.Module):
    """Multi-head attention of queries to keys, whose codes of place are added outside."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"the width {dim} of a transformer is a multiple of its {heads} heads")
        self.heads, self.rate = heads, dropout
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, queries, dim]; ``mask`` [batch, 1, 1, keys] (bool) says which keys are seen."""
        parts = (self.query(query), self.key(key), self.value(value))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.rate if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    """Two linear layers with ReLU and dropout between."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class EncoderLayer(nn.Module):
    """Post-norm self-attention and feed-forward layers; the time code enters queries and keys alone."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.attention_norm = CrossAttention(dim, heads, dropout), nn.LayerNorm(dim)
        self.feed, self.feed_norm = FeedForward(dim, hidden, dropout), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, code: Tensor, mask: Tensor) -> Tensor:
        coded = x + code
        x = self.attention_norm(x + self.dropout(self.attention(coded, coded, x, mask)))
        return self.feed_norm(x + self.dropout(self.feed(x)))


class DecoderLayer(nn.Module):
    """Post-norm self-attention among queries, attention to the memory, and feed-forward layers."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.own, self.own_norm = CrossAttention(dim, heads, dropout), nn.LayerNorm(dim)
        self.cross, self.cross_norm = CrossAttention(dim, heads, dropout), nn.LayerNorm(dim)
        self.feed, self.feed_norm = FeedForward(dim, hidden, dropout), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, place: Tensor, memory: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        coded = x + place
        x = self.own_norm(x + self.dropout(self.own(coded, coded, x)))
        x = self.cross_norm(x + self.dropout(self.cross(x + place, keys, memory, mask)))
        return self.feed_norm(x + self.dropout(self.feed(x)))


def _state_head(dim: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out)
    )


def sinusoidal(positions: Tensor, dim: int, *, temperature: float = 1e4) -> Tensor:
    """Positions [..., coordinates] in [0, 1] as sines and cosines [..., coordinates · dim] (Vaswani et al., 2017)."""
    pair = torch.arange(dim, device=positions.device, dtype=positions.dtype) // 2
    angle = (positions * 2 * math.pi).unsqueeze(-1) / temperature ** (2 * pair / dim)
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], -1).flatten(-3)


@torch.library.custom_op("kdrun::places_in_use", mutates_args=())
def _places_in_use(real: torch.Tensor, least: int) -> torch.Tensor:
    """An empty row as long as the elements up to the last one that counts in this batch, and no shorter than ``least``.

    ``real`` [batch, elements] (bool). Planning and ``torch.compile``, for which lengths are fixed, take all elements: what lies
    behind the last one changes no estimate.
    """
    last = (real * torch.arange(1, real.shape[1] + 1, device=real.device)).amax()
    return real.new_empty(max(int(last), least))


@_places_in_use.register_fake
def _(real: Tensor, least: int) -> Tensor:
    return real.new_empty(real.shape[1])


@model(name="set_prediction_transformer", outputs=("estimates", "states", "existence", "memory"))
class SetPredictionTransformer(nn.Module):
    """From a list of point measurements to the set of present states: a two-stage, refining detection transformer.

    As MT3 (Pinto et al., 2021), after deformable DETR (Zhu et al., 2021): an encoder over measurements, with a learned
    code of time in queries and keys; proposals from its outputs, of which the ``queries`` likeliest become reference
    points and, through a sinusoidal code, the decoder's queries; a decoder that moves its references layer by layer.
    References are detached between stages and layers, the content of queries is not: with ``query_content: place`` it
    starts from the code of the reference, with ``memory`` from the chosen proposal's own features. Matrices start as
    Xavier-uniform, the table of times uniform in [0, 1).

    ``times`` steps are numbered from 0; positions have ``coordinates`` numbers on a ``field`` of that side around 0.
    Layers are ``dim`` wide with ``heads`` heads, feed-forward layers ``hidden``, those of the state heads
    ``head_hidden``.

    Reads ``measurements`` [batch, elements, coordinates + 1], positions and the number of the step (-1: filled up)
    last, and perhaps a ``mask`` [batch, elements] (bool) of those that count; outputs ``estimates`` [batch, queries,
    coordinates + 1], positions and the probability that there is something, ``states`` [batch, layers + 1, queries,
    coordinates] and ``existence`` logits [batch, layers + 1, queries] of the first stage and of all decoder layers, and
    ``memory`` [batch, elements, dim]. Raises ``InputError`` for fewer elements than queries, or an odd ``dim``.

    Where a scene has fewer measurements than queries, or some lie within a hundredth of the border of the field or
    outside, the likeliest others come first; rows that fill up serve as queries then.

    >>> small = {"dim": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "hidden": 16, "queries": 4}
    >>> models.set_prediction_transformer(times=5, **small)(torch.zeros(2, 12, 3))["estimates"].shape
    torch.Size([2, 4, 3])
    """

    def __init__(
        self,
        *,
        times: Count,
        field: Positive = 20.0,
        coordinates: Count = 2,
        dim: Count = 256,
        encoder_layers: Count = 6,
        decoder_layers: Count = 6,
        heads: Count = 8,
        hidden: Count = 2048,
        head_hidden: Count = 128,
        queries: Count = 16,
        dropout: Fraction = 0.1,
        query_content: Literal["place", "memory"] = "place",
    ) -> None:
        super().__init__()
        if dim % 2:
            raise InputError(f"the sinusoidal code needs an even width, got {dim}")
        self.field, self.queries, self.dim, self.coordinates = float(field), queries, dim, coordinates
        self.embed = nn.Linear(coordinates, dim, bias=False)
        self.time = nn.Embedding(times, dim)
        self.encoder = nn.ModuleList(EncoderLayer(dim, heads, hidden, dropout) for _ in range(encoder_layers))
        self.select = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.query_content, width = query_content, 2 * dim if query_content == "place" else dim
        self.place = nn.Sequential(nn.Linear(coordinates * dim, width), nn.LayerNorm(width))
        self.decoder = nn.ModuleList(DecoderLayer(dim, heads, hidden, dropout) for _ in range(decoder_layers))
        self.state_norm = nn.LayerNorm(dim)
        count = decoder_layers + 1  # the last ones are those of the first stage
        self.state_heads = nn.ModuleList(_state_head(dim, head_hidden, coordinates) for _ in range(count))
        self.existence_heads = nn.ModuleList(nn.Linear(dim, 1) for _ in range(count))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for head in self.state_heads:
            nn.init.zeros_(head[-1].bias)  # type: ignore[index,arg-type]
        nn.init.uniform_(self.time.weight)

    def forward(self, measurements: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Measurements [batch, elements, coordinates + 1], positions and the number of the step (-1: filled up) last.

        ``mask`` [batch, elements] (bool) says which count, by default those of step 0 or later. Gives ``estimates``
        [batch, queries, coordinates + 1], positions and the probability that there is something; ``states`` [batch,
        layers + 1, queries, coordinates] and ``existence`` logits [batch, layers + 1, queries] of the first stage and of
        all decoder layers, in this order; ``memory`` [batch, elements, dim], the encoder's output, 0 behind the last
        measurement of the batch. Raises ``InputError`` for fewer elements than queries.
        """
        elements = measurements.shape[1]
        if elements < self.queries:
            raise InputError(f"{self.queries} queries are taken from as many elements or more, got {elements}")
        real = measurements[..., -1] >= 0 if mask is None else mask
        length = len(_places_in_use(real, self.queries))
        measurements, real = measurements[:, :length], real[:, :length]
        scaled = measurements[..., :-1] / self.field
        code = self.time(measurements[..., -1].clamp_min(0).long())
        seen = real[:, None, None, :]
        memory = self.embed(scaled)
        for layer in self.encoder:
            memory = layer(memory, code, seen)
        states, existence, content, place, reference = self._first_stage(memory, scaled.float() + 0.5, real)
        found, logits = [states], [existence]
        for number, layer in enumerate(self.decoder):
            content = layer(content, place, memory, memory + code, seen)
            moved = self.state_heads[number](self.state_norm(content)).float() + reference
            found.append(self._position(moved))
            logits.append(self.existence_heads[number](content).squeeze(-1).float())
            if number < len(self.decoder) - 1:
                reference = (self.state_heads[number](content).float() + reference).detach()
        estimates = torch.cat([found[-1], logits[-1].sigmoid().unsqueeze(-1)], -1)
        return {
            "estimates": estimates,
            "states": torch.stack(found, 1),
            "existence": torch.stack(logits, 1),
            "memory": F.pad(memory, (0, 0, 0, elements - length)),
        }

    def _position(self, logit: Tensor) -> Tensor:
        return (logit.sigmoid() - 0.5) * self.field

    def _first_stage(
        self, memory: Tensor, shares: Tensor, real: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """States and logits of the chosen proposals, content and place of the queries, references (as logits)."""
        inside = ((shares > 0.01) & (shares < 0.99)).all(-1)
        hidden = self.select(memory)
        logits = self.existence_heads[-1](hidden).squeeze(-1).float()
        chosen = logits.detach().masked_fill(~(real & inside), -1e8).topk(self.queries, 1).indices
        hidden, shares = (v.gather(1, chosen.unsqueeze(-1).expand(-1, -1, v.shape[2])) for v in (hidden, shares))
        picked = self.state_heads[-1](hidden).float() + shares.clamp(0.01, 0.99).logit()
        reference = picked.detach()
        code = sinusoidal(reference.sigmoid(), self.dim).to(memory.dtype)
        place, content = self.place(code).chunk(2, -1) if self.query_content == "place" else (self.place(code), hidden)
        return self._position(picked), logits.gather(1, chosen), content, place, reference
