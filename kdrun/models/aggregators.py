"""Networks over a set of tokens, one for each of several models."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Count, Fraction, Size, Unsigned

__all__ = ["MixtureTokenAggregator"]


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, dim), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        normal = self.before(tokens)
        tokens = tokens + self.attention(normal, normal, normal, need_weights=False)[0]
        return tokens + self.feed(self.between(tokens))


@model(name="mixture_token_aggregator", outputs=("feature", "logits"))
class MixtureTokenAggregator(nn.Module):
    """A pre-norm transformer over the features of several experts, without positions (Zhong et al., 2022).

    ``depth`` blocks with ``heads`` attention heads and feed-forward layers of ``width``, ``dropout`` behind both; without
    any (0) tokens are averaged as they are. Reads tokens [batch, experts, features], any number of experts in any order;
    outputs ``feature`` [batch, features], the mean over tokens before the head's layer norm, and ``logits`` [batch,
    num_classes].

    >>> found = models.mixture_token_aggregator(features=32, num_classes=3)(torch.zeros(2, 5, 32))
    >>> found["feature"].shape, found["logits"].shape
    (torch.Size([2, 32]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        *,
        features: Count = 32,
        heads: Count = 4,
        depth: Unsigned = 1,
        width: Count = 64,
        dropout: Fraction = 0.1,
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[_Block(features, heads, width, dropout) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, int(num_classes)))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """``feature`` [batch, features] and ``logits`` [batch, classes] of tokens [batch, any number, features]."""
        feature = self.blocks(tokens).mean(1)
        return {"feature": feature, "logits": self.head(feature)}
