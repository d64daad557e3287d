"""Taggers: one prediction a token, with the states before the head as ``feature`` [batch, T, dim]."""

from __future__ import annotations

import itertools
import re
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.models.transformers_loading import built, planning
from kdrun.models.transformers_options import configuration
from kdrun.registry import model
from kdrun.types import Count, PretrainedName, Size, Unsigned

__all__ = ["AdapterTagger", "BottleneckAdapter", "RecurrentTagger", "WindowTagger", "pretrained_encoder"]


@model(name="recurrent_tagger")
class RecurrentTagger(nn.Module):
    """A linear layer, a gated recurrent unit in each direction (Cho et al., 2014) and a head, over word vectors.

    ``hidden`` is the width of the linear layer, ``units`` that of each direction. Reads ``tokens`` [batch, T, vector]
    and gives logits [batch, T, num_classes]; padding (vectors of zeros, at the end) changes nothing of what comes
    before it. Taps: ``feature`` [batch, T, 2 · units], ``head``.

    >>> models.recurrent_tagger(hidden=8, units=8, vector=4, num_classes=3)(torch.ones(2, 5, 4)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(
        self, *, hidden: Count = 64, units: Count = 64, vector: Size = "auto", num_classes: Size = "auto"
    ) -> None:
        super().__init__()
        self.project = nn.Linear(int(vector), hidden)
        self.forwards = nn.GRU(hidden, units, batch_first=True)
        self.backwards = nn.GRU(hidden, units, batch_first=True)
        self.head = nn.Linear(2 * units, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, T, classes] of word vectors [batch, T, vector]."""
        real = tokens.ne(0).any(-1)
        x = self.project(tokens)
        places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(real)
        turned = torch.where(real, real.sum(1, keepdim=True) - 1 - places, places)
        behind = _turn(_recur(self.backwards, _turn(x, turned)), turned)
        return self.head(torch.cat([_recur(self.forwards, x), behind], dim=-1))


def _turn(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order.unsqueeze(-1).expand_as(x))


def _recur(layer: nn.GRU, x: Tensor) -> Tensor:
    """The layer's outputs in float32, from its parameters as they are (a module's call misses those of a functional call)."""
    weights: list[Tensor] = list(layer.parameters())
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(weights[0].dtype)
        start = x.new_zeros(1, len(x), layer.hidden_size)
        return torch.gru(x, start, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)[0]


@model(name="window_tagger")
class WindowTagger(nn.Module):
    """Convolutions over word vectors, each with a rectifier, and a head: a word is tagged by its neighbours (Collobert et al., 2011).

    ``depth`` layers of width ``hidden`` read ``reach`` words to either side each. Reads ``tokens`` [batch, T, vector] and
    gives logits [batch, T, num_classes]; padding (vectors of zeros, at the end) changes nothing of what comes before it.
    Taps: ``feature`` [batch, T, hidden], not below 0; ``head``.

    >>> models.window_tagger(hidden=8, vector=4, num_classes=3)(torch.ones(2, 5, 4)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(
        self,
        *,
        hidden: Count = 64,
        depth: Count = 2,
        reach: Unsigned = 1,
        vector: Size = "auto",
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        widths = [int(vector), *[hidden] * depth]
        self.layers = nn.ModuleList(
            nn.Conv1d(into, out, 2 * reach + 1, padding=reach) for into, out in itertools.pairwise(widths)
        )
        self.head = nn.Linear(hidden, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, T, classes] of word vectors [batch, T, vector]."""
        real = tokens.ne(0).any(-1)[:, None]
        x = tokens.transpose(1, 2)
        for layer in self.layers:
            x = layer(x).relu() * real
        return self.head(x.transpose(1, 2))


@model(name="bottleneck_adapter")
class BottleneckAdapter(nn.Module):
    """``x + up(relu(down(x)))`` over the last axis, near the identity at first (Houlsby et al., 2019).

    ``down`` divides the width by ``reduction``. Reads [..., in_features] and gives the same shape.

    >>> models.bottleneck_adapter(in_features=32)(torch.zeros(2, 5, 32)).shape
    torch.Size([2, 5, 32])
    """

    def __init__(self, *, in_features: Size = "auto", reduction: Count = 16) -> None:
        super().__init__()
        width = max(int(in_features) // reduction, 1)
        self.down = nn.Linear(int(in_features), width)
        self.up = nn.Linear(width, int(in_features))
        for layer in (self.down, self.up):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., features] of [..., features]."""
        return x + self.up(self.down(x).relu())


@model(name="adapter_tagger", extra="nlp", requires=("transformers",))
class AdapterTagger(nn.Module):
    """A frozen encoder of transformers with an adapter behind each feed-forward layer, and a head; both are trained.

    ``name`` is an architecture (``bert``), with ``config``; ``pretrained`` the folder or hub entry whose configuration
    and weights take its place when the model is built for running (a plan needs neither). The adapters stand before the
    residual sum and the norm (Pfeiffer et al., 2021); ``reduction`` divides their width. ``padding`` is the id that is
    not attended to.

    Reads piece ids ``tokens`` [batch, T] (int64) and gives logits [batch, T, num_classes]. Taps: ``feature`` [batch, T,
    width], ``head``. Raises ``InputError`` for a model that cannot be loaded or has no such layers.

    >>> small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    >>> models.adapter_tagger(config=small, num_classes=3)(torch.ones(2, 5, dtype=torch.int64)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(
        self,
        *,
        name: PretrainedName = "bert",
        pretrained: PretrainedName | None = None,
        config: dict[str, Any] | None = None,
        reduction: Count = 16,
        padding: int = 0,
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        self.padding = padding
        self.encoder = pretrained_encoder(name, pretrained, config or {})
        width = int(self.encoder.config.hidden_size)
        self.encoder.requires_grad_(False)
        found = [n for n, m in self.encoder.named_modules() if re.search(r"layer\.\d+\.output\.dense$", n)]
        if not found:
            raise InputError(f"adapters go behind 'layer.N.output.dense', which {pretrained or name} does not have")
        for path in found:
            parent, _, leaf = path.rpartition(".")
            inner = self.encoder.get_submodule(parent)
            dense = inner.get_submodule(leaf)
            setattr(inner, leaf, nn.Sequential(dense, BottleneckAdapter(in_features=width, reduction=reduction)))
        self.head = nn.Linear(width, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [batch, T, classes] of piece ids [batch, T]; ``mask`` [batch, T], 0 at padding, takes the place of the id that pads."""
        real = (tokens != self.padding if mask is None else mask).long()
        return self.head(self.encoder(input_ids=tokens, attention_mask=real).last_hidden_state)


def pretrained_encoder(name: str, pretrained: str | None, config: dict[str, Any]) -> Any:
    """An encoder of transformers without a head: of ``pretrained``, or with first weights by architecture ``name``.

    On the meta device (a plan) it is always the architecture. Raises ``InputError`` for what cannot be loaded.
    """
    try:
        import transformers
    except ImportError:
        raise InputError("encoders of transformers need an extra: pip install 'kdrun[nlp]'") from None
    planned = pretrained is None or planning()
    try:
        settings = configuration(name if planned else str(pretrained), config, architecture=name if planned else None)
        return built(transformers.AutoModel, str(pretrained), settings, config, pretrained=not planned)
    except (OSError, ValueError) as error:
        raise InputError(
            f"transformers cannot load '{name if planned else pretrained}', which is neither a local folder nor reachable on "
            f"the hub: {str(error).splitlines()[0]}"
        ) from error
