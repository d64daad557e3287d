"""Multiple-instance networks, which read bags of instances, and routers over features of frozen experts.

A bag is [batch, instances, features]. Bags of unequal size are padded by rows of zeros: an instance whose features are
all zero is padding, and gets no weight.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Fraction, Size

__all__ = ["GatedAttentionMIL", "MeanPoolingMIL", "TopKExpertRouting"]


def _real(bag: Tensor) -> Tensor:
    """Which instances are no padding: bool [batch, instances]."""
    return bag.ne(0).any(-1)


def _embedding(in_features: int, width: int | None) -> tuple[nn.Module, int]:
    if width is None:
        return nn.Identity(), in_features
    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU()), width


class GatedAttentionPooling(nn.Module):
    """``h = ReLU(W x + b)``, ``w = softmax(c · (tanh(A h) ⊙ sigmoid(B h)))``, ``z = Σ w h`` (Ilse et al., 2018, eq. 9).

    ``embedding: null`` leaves W out. ``dropout`` follows tanh and sigmoid. A, B and c have biases.
    """

    def __init__(self, *, in_features: int, embedding: int | None, attention: int, dropout: float) -> None:
        super().__init__()
        self.embed, self.width = _embedding(in_features, embedding)
        self.content = nn.Sequential(nn.Linear(self.width, attention), nn.Tanh(), nn.Dropout(dropout))
        self.gate = nn.Sequential(nn.Linear(self.width, attention), nn.Sigmoid(), nn.Dropout(dropout))
        self.score = nn.Linear(attention, 1)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled feature [batch, width] and the weights [batch, instances], which sum to 1."""
        hidden = self.embed(bag)
        scores = self.score(self.content(hidden) * self.gate(hidden)).squeeze(-1).float()
        scores = scores.masked_fill(~_real(bag), torch.finfo(scores.dtype).min)
        weights = scores.softmax(1)
        return torch.einsum("bn,bnw->bw", weights.to(hidden.dtype), hidden), weights


class MeanPooling(nn.Module):
    """The mean over instances of ``h = ReLU(W x + b)``, or of x (``embedding: null``)."""

    def __init__(self, *, in_features: int, embedding: int | None) -> None:
        super().__init__()
        self.embed, self.width = _embedding(in_features, embedding)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled feature [batch, width] and the weights [batch, instances]."""
        real = _real(bag).to(bag.dtype)
        weights = real / real.sum(1, keepdim=True).clamp_min(1)
        hidden = self.embed(bag)
        return torch.einsum("bn,bnw->bw", weights.to(hidden.dtype), hidden), weights


class _BagClassifier(nn.Module):
    """A pooling of instances and a linear head."""

    def __init__(self, pool: GatedAttentionPooling | MeanPooling, num_classes: int) -> None:
        super().__init__()
        self.pool = pool
        self.head = nn.Linear(pool.width, num_classes)
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, bag: Tensor) -> dict[str, Tensor]:
        """``logits`` [batch, classes], ``feature`` [batch, width] and ``weights`` [batch, instances] of a bag."""
        feature, weights = self.pool(bag)
        return {"logits": self.head(feature), "feature": feature, "weights": weights}


@model(name="gated_attention_mil")
class GatedAttentionMIL(_BagClassifier):
    """Attention-based multiple-instance learning with gated attention and a linear head (Ilse et al., 2018, equation 9).

    Reads a ``bag`` [batch, instances, in_features], padded by rows of zeros. ``embedding`` is the width of the linear
    layer with ReLU before pooling (null: none), ``attention`` that of the attention's two branches, ``dropout`` the
    share left out in these. Outputs ``logits`` [batch, num_classes], the pooled ``feature`` [batch, width] and
    ``weights`` [batch, instances], which sum to 1 and are 0 at padding. Taps: ``feature``, ``head``.

    >>> bag = torch.cat([torch.ones(1, 3, 8), torch.zeros(1, 2, 8)], dim=1)  # three instances, two of padding
    >>> network = models.gated_attention_mil(embedding=None, in_features=8, num_classes=2).eval()
    >>> network(bag)["weights"].detach()
    tensor([[0.3333, 0.3333, 0.3333, 0.0000, 0.0000]])
    """

    def __init__(
        self,
        *,
        embedding: Count | None = 512,
        attention: Count = 384,
        dropout: Fraction = 0.25,
        in_features: Size = "auto",
        num_classes: Size = "auto",
    ) -> None:
        pool = GatedAttentionPooling(
            in_features=int(in_features), embedding=embedding, attention=attention, dropout=dropout
        )
        super().__init__(pool, int(num_classes))

    def forward(self, bag: Tensor) -> dict[str, Tensor]:
        """``logits`` [batch, classes], ``feature`` [batch, width] and ``weights`` [batch, instances] of a bag."""
        return super().forward(bag)


@model(name="mean_pooling_mil")
class MeanPoolingMIL(_BagClassifier):
    """Multiple-instance learning by the mean over instances, and a linear head.

    Reads a ``bag`` [batch, instances, in_features], padded by rows of zeros, which the mean leaves out. ``embedding``
    is the width of a linear layer with ReLU before it (null: none). Outputs ``logits`` [batch, num_classes],
    ``feature`` [batch, width] and ``weights`` [batch, instances], equal for all real instances. Taps: ``feature``,
    ``head``.

    >>> models.mean_pooling_mil(in_features=8, num_classes=2)(torch.ones(1, 4, 8))["weights"]
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(
        self, *, embedding: Count | None = None, in_features: Size = "auto", num_classes: Size = "auto"
    ) -> None:
        super().__init__(MeanPooling(in_features=int(in_features), embedding=embedding), int(num_classes))

    def forward(self, bag: Tensor) -> dict[str, Tensor]:
        """``logits`` [batch, classes], ``feature`` [batch, width] and ``weights`` [batch, instances] of a bag."""
        return super().forward(bag)


@model(name="topk_expert_routing")
class TopKExpertRouting(nn.Module):
    """A router that reads a bag mixes features which frozen models gave for it, through one small expert a model.

    The router is a gated-attention pooling of its own (``embedding``, ``attention``, ``dropout`` as in
    ``gated_attention_mil``) and a linear map without bias; its gates are the softmax over all experts, of which the
    ``top_k`` largest are used as they are, not made to sum to 1. An expert is ``ReLU(W z + b)``, or (``experts:
    identity``) z itself. ``source_features`` is the width of z (default: the router's own). ``gumbel`` adds Gumbel
    noise to the router's logits in training.

    Reads a ``bag`` [batch, instances, in_features] and ``sources`` [batch, num_experts, source_features]; outputs
    ``logits`` [batch, num_classes], ``feature`` [batch, width], ``gates`` [batch, num_experts] (the whole softmax) and
    ``router_logits``. Taps: ``feature``, ``head``. Raises ``InputError`` for a ``top_k`` above the number of experts,
    ``ValueError`` for another number of sources.

    >>> network = models.topk_expert_routing(num_experts=3, top_k=2, embedding=16, in_features=8, num_classes=4)
    >>> found = network(torch.ones(2, 5, 8), torch.ones(2, 3, 16))
    >>> found["logits"].shape, found["gates"].sum(1).detach()
    (torch.Size([2, 4]), tensor([1., 1.]))
    """

    def __init__(
        self,
        *,
        num_experts: Count,
        top_k: Count = 5,
        embedding: Count | None = 512,
        attention: Count = 384,
        dropout: Fraction = 0.25,
        source_features: Count | None = None,
        experts: Literal["linear", "identity"] = "linear",
        gumbel: bool = False,
        in_features: Size = "auto",
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        if top_k > num_experts:
            raise InputError(f"top_k is at most the number of experts, {num_experts}; got {top_k}")
        self.top_k, self.gumbel = top_k, gumbel
        self.trunk = GatedAttentionPooling(
            in_features=int(in_features), embedding=embedding, attention=attention, dropout=dropout
        )
        width = self.trunk.width
        source = source_features or width
        self.router = nn.Linear(width, num_experts, bias=False)
        linear = experts == "linear"
        self.experts = nn.ModuleList([nn.Linear(source, width) for _ in range(num_experts)] if linear else [])
        self.head = nn.Linear(width if linear else source, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, bag: Tensor, sources: Tensor) -> dict[str, Tensor]:
        """Mix ``sources`` [batch, experts, source features] as the router says of ``bag`` [batch, instances, features].

        Gives ``logits`` [batch, classes], ``feature`` [batch, width], ``gates`` [batch, experts] (the whole softmax) and
        ``router_logits`` [batch, experts]. Raises ``ValueError`` for another number of experts.
        """
        if sources.dim() != 3 or sources.shape[1] != self.router.out_features:
            raise ValueError(
                f"expected sources [batch, {self.router.out_features}, features], got {list(sources.shape)}"
            )
        router_logits = self.router(self.trunk(bag)[0])
        noisy = router_logits
        if self.gumbel and self.training:
            noisy = router_logits - torch.empty_like(router_logits).exponential_().log()
        gates = noisy.float().softmax(1)
        best = gates.topk(self.top_k, dim=1)
        used = torch.zeros_like(gates).scatter(1, best.indices, best.values)
        answers = sources
        if len(self.experts):
            answers = torch.stack([expert(sources[:, i]).relu() for i, expert in enumerate(self.experts)], dim=1)
        feature = torch.einsum("be,bew->bw", used.to(answers.dtype), answers)
        return {"logits": self.head(feature), "feature": feature, "gates": gates, "router_logits": router_logits}
