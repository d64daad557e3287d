"""Small transformers: on image patches, on tokens seen whole, and on tokens seen from the left."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Fraction, Size

__all__ = ["CausalTransformer", "EncoderTransformer", "VisionTransformer"]

PRESETS = {"nano": (48, 2, 2), "tiny": (64, 2, 4), "micro": (96, 3, 3), "mini": (192, 4, 4), "small": (384, 6, 6)}
"""Width, layers and heads by name."""


class Attention(nn.Module):
    """Multi-head self-attention; ``causal`` hides what comes later."""

    def __init__(self, dim: int, heads: int, causal: bool) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"the width {dim} of a transformer is a multiple of its {heads} heads")
        self.heads, self.causal = heads, causal
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, dim = x.shape
        query, key, value = (
            self.project_in(x).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        )
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

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feed(self.feed_norm(x)))


def _points(depth: int, **more: str) -> dict[str, str]:
    layers = {f"tokens_{i + 1}": f"blocks.{i}" for i in range(depth)}
    return {"head": "head", "tokens": "norm", **layers, **more}


@model(name="vision_transformer")
class VisionTransformer(nn.Module):
    """Vision transformer (Dosovitskiy et al., 2021) with a class token and learned positions."""

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
    def __init__(self, vocabulary: int, max_length: int, size: str, dropout: float, causal: bool) -> None:
        super().__init__()
        dim, depth, heads = PRESETS[size]
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
    """A bidirectional transformer over token ids: one prediction a text, or one a token."""

    def __init__(
        self,
        *,
        vocabulary: Size = "auto",
        num_classes: Size = "auto",
        max_length: Count = 128,
        size: Literal["nano", "tiny", "micro", "mini", "small"] = "nano",
        dropout: Fraction = 0.0,
        per_token: bool = False,
        padding: int = 0,
    ) -> None:
        super().__init__(int(vocabulary), max_length, size, dropout, causal=False)
        self.head = nn.Linear(self.dim, int(num_classes))
        self.per_token, self.padding = per_token, padding
        self.tap_points = _points(self.depth, feature="head:input")

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, classes] (or [batch, length, classes]) of ids [batch, length]; padding is not attended to."""
        real = tokens != self.padding
        hidden = self.hidden(tokens, real[:, None, None, :])
        if self.per_token:
            return self.head(hidden)
        weight = real.to(hidden.dtype)[:, :, None]
        return self.head((hidden * weight).sum(1) / weight.sum(1).clamp_min(1.0))


@model(name="causal_transformer")
class CausalTransformer(_TokenTransformer):
    """A left-to-right language model over token ids; the head is tied to the embedding."""

    def __init__(
        self,
        *,
        vocabulary: Size = "auto",
        max_length: Count = 128,
        size: Literal["nano", "tiny", "micro", "mini", "small"] = "nano",
        dropout: Fraction = 0.0,
    ) -> None:
        super().__init__(int(vocabulary), max_length, size, dropout, causal=True)
        for table in (self.embedding, self.positions):  # as in GPT-2: places must not drown tokens
            nn.init.normal_(table.weight, std=0.02)
        self.head = nn.Linear(self.dim, int(vocabulary), bias=False)
        self.head.weight = self.embedding.weight
        self.tap_points = _points(self.depth)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, length, vocabulary] of the token after each position."""
        return self.head(self.hidden(tokens, None))
