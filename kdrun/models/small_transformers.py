"""Small transformers: on image patches, on tokens seen whole, and on tokens seen from the left."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Fraction, Size

__all__ = ["CausalTransformer", "EncoderTransformer", "KeyValueCache", "VisionTransformer"]

PRESETS = {"nano": (48, 2, 2), "micro": (96, 3, 3), "mini": (192, 4, 4), "small": (384, 6, 6)}
"""Width, layers and heads by name."""


class KeyValueCache:
    """Keys and values of the tokens that a causal transformer has seen, one pair a layer, [rows, heads, length, dim]."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        """How many tokens a row has."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the next tokens of a layer; return all that it has."""
        if layer == len(self.layers):
            self.layers.append((key, value))
        else:
            before = self.layers[layer]
            self.layers[layer] = (torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2))
        return self.layers[layer]

    def select(self, rows: Tensor) -> None:
        """Keep these rows (int64), in this order."""
        self.layers = [(key[rows], value[rows]) for key, value in self.layers]


class Attention(nn.Module):
    """Multi-head self-attention; ``causal`` hides what comes later."""

    def __init__(self, dim: int, heads: int, causal: bool) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"the width {dim} of a transformer is a multiple of its {heads} heads")
        self.heads, self.causal = heads, causal
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        batch, length, dim = x.shape
        query, key, value = (
            self.project_in(x).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        )
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=self.causal and mask is None
        )
        return self.project_out(mixed.transpose(1, 2).reshape(batch, length, dim))


class Block(nn.Module):
    """Pre-norm attention and feed-forward layers."""

    def __init__(self, dim: int, heads: int, ratio: float, dropout: float, causal: bool) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.attention_norm, self.attention = nn.LayerNorm(dim), Attention(dim, heads, causal)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), mask, cache, layer))
        return x + self.dropout(self.feed(self.feed_norm(x)))


def _points(depth: int, **more: str) -> dict[str, str]:
    layers = {f"tokens_{i + 1}": f"blocks.{i}" for i in range(depth)}
    return {"head": "head", "tokens": "norm", **layers, **more}


@model(name="vision_transformer")
class VisionTransformer(nn.Module):
    """Vision transformer (Dosovitskiy et al., 2021) with a class token and learned positions.

    ``depth`` pre-norm blocks, ``dim`` wide with ``heads`` heads and feed-forward layers of ``ratio`` times the width,
    over patches of ``patch_size`` pixels. Reads images [batch, in_channels, image_size, image_size] and gives logits
    [batch, num_classes]. Taps: ``tokens_1`` … (the blocks) and ``tokens`` [batch, patches + 1, dim], ``map_1`` … and
    ``map`` (the same as maps [batch, dim, h, w], without the class token), ``feature``, ``head``. Raises ``InputError``
    if patches do not tile the image.

    >>> network = models.vision_transformer(dim=16, depth=2, num_classes=3, in_channels=1, image_size=8)
    >>> network(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        patch_size: Count = 2,
        dim: Count = 64,
        depth: Count = 4,
        heads: Count = 4,
        ratio: float = 2.0,
        dropout: Fraction = 0.0,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        if int(image_size) % patch_size:
            raise InputError(f"patches of {patch_size} pixels do not tile an image of {image_size}")
        count = (int(image_size) // patch_size) ** 2
        self.patches = nn.Conv2d(int(in_channels), dim, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(0.02 * torch.randn(1, count + 1, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads, ratio, dropout, causal=False) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, int(num_classes))
        maps = {f"map_{i + 1}": f"blocks.{i}:map" for i in range(depth)}
        self.tap_points = _points(depth, feature="head:input", map="norm:map", **maps)

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, size, size]."""
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        start = self.class_token.expand(len(image), -1, -1)
        tokens = self.norm(self.blocks(torch.cat([start, tokens], dim=1) + self.positions))
        return self.head(tokens[:, 0])


class _TokenTransformer(nn.Module):
    def __init__(
        self, vocabulary: int, max_length: int, shape: tuple[int, int, int], dropout: float, causal: bool
    ) -> None:
        super().__init__()
        dim, depth, heads = shape
        self.embedding = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(max_length, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, 4.0, dropout, causal) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.dim, self.depth = dim, depth

    def hidden(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


@model(name="encoder_transformer")
class EncoderTransformer(_TokenTransformer):
    """A bidirectional transformer over token ids: one prediction a text, or one a token.

    ``size`` names width, layers and heads: nano (48, 2, 2), micro (96, 3, 3), mini (192, 4, 4), small (384, 6, 6).
    Reads ``tokens`` [batch, length] (int64, below ``vocabulary``; at most ``max_length`` long) and gives logits [batch,
    num_classes], of the mean over real tokens, or with ``per_token`` [batch, length, num_classes]; the id ``padding``
    is not attended to. Taps: ``tokens_1`` … (the layers), ``tokens`` [batch, length, dim], ``feature``, ``head``.

    >>> network = models.encoder_transformer(vocabulary=20, num_classes=3)
    >>> network(torch.tensor([[5, 7, 2, 0, 0]])).shape
    torch.Size([1, 3])
    """

    def __init__(
        self,
        *,
        vocabulary: Size = "auto",
        num_classes: Size = "auto",
        max_length: Count = 128,
        size: Literal["nano", "micro", "mini", "small"] = "nano",
        dropout: Fraction = 0.0,
        per_token: bool = False,
        padding: int = 0,
    ) -> None:
        super().__init__(int(vocabulary), max_length, PRESETS[size], dropout, causal=False)
        self.head = nn.Linear(self.dim, int(num_classes))
        self.per_token, self.padding = per_token, padding
        self.tap_points = _points(self.depth, feature="head:input")

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [batch, classes] (or [batch, length, classes]) of ids [batch, length]; padding is not attended to.

        ``mask`` [batch, length], false or 0 at padding, takes the place of the id that pads.
        """
        real = tokens != self.padding if mask is None else mask.bool()
        hidden = self.hidden(tokens, real[:, None, None, :])
        if self.per_token:
            return self.head(hidden)
        weight = real.to(hidden.dtype)[:, :, None]
        return self.head((hidden * weight).sum(1) / weight.sum(1).clamp_min(1.0))


@model(name="causal_transformer")
class CausalTransformer(_TokenTransformer):
    """A left-to-right language model over token ids; the head is tied to the embedding.

    ``dim``, ``depth`` and ``heads`` replace the width, layers and heads of the preset ``size``: nano (48, 2, 2), micro
    (96, 3, 3), mini (192, 4, 4), small (384, 6, 6). Reads ``tokens`` [batch, length] (int64, below ``vocabulary``; at
    most ``max_length`` long) and perhaps a ``mask`` (bool, false at padding); gives logits [batch, length, vocabulary]
    of the token after each position. Taps: ``tokens_1`` … (the layers), ``tokens`` [batch, length, dim], ``head``.

    >>> network = models.causal_transformer(vocabulary=20)
    >>> network(torch.tensor([[5, 7, 2]])).shape
    torch.Size([1, 3, 20])
    """

    def __init__(
        self,
        *,
        vocabulary: Size = "auto",
        max_length: Count = 128,
        size: Literal["nano", "micro", "mini", "small"] = "nano",
        dim: Count | None = None,
        depth: Count | None = None,
        heads: Count | None = None,
        dropout: Fraction = 0.0,
    ) -> None:
        preset = PRESETS[size]
        shape = (dim or preset[0], depth or preset[1], heads or preset[2])
        super().__init__(int(vocabulary), max_length, shape, dropout, causal=True)
        for table in (self.embedding, self.positions):  # as in GPT-2: places must not drown tokens
            nn.init.normal_(table.weight, std=0.02)
        self.head = nn.Linear(self.dim, int(vocabulary), bias=False)
        self.head.weight = self.embedding.weight
        self.max_length = max_length
        self.tap_points = _points(self.depth)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """Logits [batch, length, vocabulary] of the token after each position.

        ``cache`` holds what came before ``tokens`` [batch, length] and takes them in. ``mask`` (bool, [batch, all
        tokens up to now]) is false at padding, which is never attended to and counts as no position.
        """
        if mask is None and cache is None:
            return self.head(self.hidden(tokens, None))
        before = len(cache) if cache is not None else 0
        total = before + tokens.shape[1]
        if mask is None:
            mask = torch.ones(len(tokens), total, dtype=torch.bool, device=tokens.device)
        places = torch.arange(total, device=tokens.device)
        own = places[before:, None]
        # A padded place sees itself: a row of a softmax that sees nothing is not a number.
        seen = (mask[:, None, :] & (places <= own)) | (places == own)
        x = self.embedding(tokens) + self.positions((mask.long().cumsum(1) - 1).clamp_min(0)[:, before:])
        for i, block in enumerate(self.blocks):
            x = block(x, seen[:, None], cache, i)
        return self.head(self.norm(x))
