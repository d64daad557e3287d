"""Vectors of texts from the vectors of their words, without attention: the mean of them, and convolutions over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.models.sentences import inner_transformer
from kdrun.registry import model
from kdrun.types import Count, PretrainedName, Unsigned

__all__ = ["CnnTextEncoder", "WordBagEncoder"]


class _WordVectors(nn.Module):
    """The first table of a pretrained transformer, and which tokens count: not padding, nor what is ``ignored``."""

    def __init__(
        self, name: str, architecture: str | None, config: dict[str, Any] | None, pretrained: bool, ignored: list[int]
    ) -> None:
        super().__init__()
        inner = inner_transformer(name, architecture, dict(config or {}), "word_bag_encoder", pretrained=pretrained)
        self.embedding = nn.Embedding.from_pretrained(inner.get_input_embeddings().weight.detach(), freeze=False)
        padding = inner.config.pad_token_id
        self.ignored = (0 if padding is None else int(padding), *ignored)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vectors [batch, length, width], 0 where a token does not count, and 1 where it does [batch, length, 1]."""
        real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
        for one in self.ignored:
            real = real & (tokens != one)
        weight = real[..., None].to(self.embedding.weight.dtype)
        return self.embedding(tokens) * weight, weight


@model(name="word_bag_encoder", extra="sentence", requires=("transformers",))
class WordBagEncoder(nn.Module):
    """The mean of a text's trained word vectors, which start as those of a pretrained transformer: order does not matter.

    ``name``, ``architecture``, ``config`` and ``pretrained`` are as of ``sentence_encoder``, of which only the table of word pieces is kept;
    ``ignored`` are ids that do not count, as those of stop words, beside padding. Reads ids ``tokens`` [batch, length] (int64) of that
    encoder's tokenizer and gives vectors [batch, width]; a text without a token that counts is 0.

    >>> bag = models.word_bag_encoder(name="minilm", ignored=[101, 102])
    >>> bool((bag(torch.tensor([[101, 7592, 2088, 102]])) == bag(torch.tensor([[2088, 7592, 0, 0]]))).all())
    True
    """

    def __init__(
        self,
        *,
        name: PretrainedName = "minilm",
        architecture: str | None = None,
        config: dict[str, Any] | None = None,
        pretrained: bool = True,
        ignored: list[Unsigned] = (),  # type: ignore[assignment]
    ) -> None:
        super().__init__()
        self.words = _WordVectors(name, architecture, config, pretrained, list(ignored))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors [batch, width] of ids [batch, length]; ``mask`` [batch, length] is false or 0 at what does not count."""
        found, weight = self.words(tokens, mask)
        return found.sum(1) / weight.sum(1).clamp_min(1.0)


@model(name="cnn_text_encoder", extra="sentence", requires=("transformers",))
class CnnTextEncoder(nn.Module):
    """Two convolutions over a text's trained word vectors (Xie et al., 2016): pairs of words, then pairs of groups of four.

    Convolution of two, maximum over groups of four, tanh, convolution of two, mean, tanh; both convolutions read a 0 behind the text.
    What padding gives is 0, which stands beside the words in a group that is not full; groups of padding alone count for nothing. Other parameters are as of ``word_bag_encoder``; ``out_features`` is the width of both convolutions.
    Reads ids ``tokens`` [batch, length] (int64) and gives vectors [batch, out_features] in (-1, 1).

    >>> models.cnn_text_encoder(name="minilm", out_features=8)(torch.tensor([[7592, 2088, 0, 0, 0]])).shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        *,
        out_features: Count = 128,
        name: PretrainedName = "minilm",
        architecture: str | None = None,
        config: dict[str, Any] | None = None,
        pretrained: bool = True,
        ignored: list[Unsigned] = (),  # type: ignore[assignment]
    ) -> None:
        super().__init__()
        self.words = _WordVectors(name, architecture, config, pretrained, list(ignored))
        self.first = nn.Conv1d(self.words.embedding.embedding_dim, out_features, 2)
        self.second = nn.Conv1d(out_features, out_features, 2)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors [batch, out_features] of ids [batch, length]; ``mask`` is as of ``word_bag_encoder``."""
        found, weight = self.words(tokens, mask)
        room = (0, -tokens.shape[1] % 4)  # full groups, whatever the texts are padded to
        found, weight = F.pad(found.transpose(1, 2), room), F.pad(weight.transpose(1, 2), room)
        pairs = self.first(F.pad(found, (0, 1))) * weight
        groups, kept = torch.tanh(F.max_pool1d(pairs, 4)), F.max_pool1d(weight, 4)
        mixed = self.second(F.pad(groups, (0, 1))) * kept
        return torch.tanh(mixed.sum(2) / kept.sum(2).clamp_min(1.0))
