"""Bottleneck adapters (Houlsby et al., 2019) behind the blocks of any transformer: one, or several put together.

They are beside the model, not inside its layers: paths, taps and weights of the model stay what they were, and the adapters lie under
``adapters``, by the path of the block that each stands behind.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError, nearest
from kdrun.models.ties import is_linear, is_transposed_linear
from kdrun.ops.fusion import attention_fusion, scaled_adapter_sum
from kdrun.registry import catalog, model
from kdrun.types import Count, Fraction

__all__ = [
    "AdapterAttention",
    "AdapterSite",
    "Bottlenecks",
    "ScaledSum",
    "adapter_attention",
    "adapter_sites",
    "bottleneck_adapters",
    "frozen_base",
    "scaled_adapters",
]


class Bottlenecks(nn.Module):
    """``count`` MLPs side by side, ``U ReLU(D h + a) + b`` each; U, a and b are 0 at first, D Kaiming-uniform."""

    def __init__(self, count: int, features: int, width: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(count, width, features))
        self.up = nn.Parameter(torch.zeros(count, features, width))
        self.down_bias = nn.Parameter(torch.zeros(count, width))
        self.up_bias = nn.Parameter(torch.zeros(count, features))
        self.draw()

    def draw(self, generator: torch.Generator | None = None) -> None:
        """First weights of the maps into the bottlenecks: uniform between ±1 / √features."""
        bound = self.down.shape[2] ** -0.5
        nn.init.uniform_(self.down, -bound, bound, generator=generator)

    def forward(self, hidden: Tensor) -> Tensor:
        """What each adds to hidden states [..., features]: [..., count, features]."""
        inner = F.relu(torch.einsum("...f,nwf->...nw", hidden, self.down) + self.down_bias)
        return torch.einsum("...nw,nfw->...nf", inner, self.up) + self.up_bias


class ScaledSum(nn.Module):
    """The residual plus each adapter's output times its coefficients, ``scale`` [count, features] or [count, 1] (Frohmann et al., 2024).

    While training, each coefficient is 0 with the probability ``dropout`` and the others are divided by the rest: for all tokens alike.
    """

    def __init__(self, scale: nn.Parameter, dropout: float, normalise: Literal["none", "mean", "softmax"]) -> None:
        super().__init__()
        self.scale, self.dropout, self.normalise = scale, dropout, normalise

    def forward(self, up: Tensor, hidden: Tensor) -> Tensor:
        """[..., features] of what adapters give [..., count, features] and of the residual [..., features]."""
        scale = F.dropout(self.scale, self.dropout, self.training)
        return scaled_adapter_sum(up, hidden, scale, normalise=self.normalise)


class AdapterAttention(nn.Module):
    """The residual plus adapters' outputs, mixed for each token by attention over the adapters (Pfeiffer et al., 2021).

    ``value`` has no bias and is the identity plus 1e-6 at first, so that it begins as a mean of outputs weighted by attention.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(features, features), nn.Linear(features, features)
        self.value = nn.Linear(features, features, bias=False)
        with torch.no_grad():
            self.value.weight.copy_(torch.eye(features) + 1e-6)

    def forward(self, up: Tensor, hidden: Tensor) -> Tensor:
        """[..., features] of what adapters give [..., count, features] and of the residual [..., features]."""
        return hidden + attention_fusion(self.query(hidden), self.key(up), self.value(up))


class AdapterSite(nn.Module):
    """Adapters behind one block: the block's output h becomes h plus what they add, all of it or as ``combine`` says."""

    def __init__(self, bottlenecks: Bottlenecks, combine: nn.Module | None = None) -> None:
        super().__init__()
        self.bottlenecks, self.combine = bottlenecks, combine

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., features] of [..., features]."""
        up = self.bottlenecks(hidden)
        return hidden + up.sum(-2) if self.combine is None else self.combine(up, hidden)

    def after(self, _: nn.Module, __: Any, output: Any) -> Any:
        """What the block gives from now on; of a block that gives several values, the first is the hidden state."""
        return (self(output[0]), *output[1:]) if isinstance(output, tuple) else self(output)


class ValueDistance(nn.Module):
    """The squared distance of all value maps of attention over adapters from the identity, whatever it is asked."""

    def __init__(self, values: list[nn.Linear]) -> None:
        super().__init__()
        self.held = (tuple(values),)  # hidden from torch: they are parts of the sites

    def forward(self, _: Tensor) -> Tensor:
        """A scalar."""
        return torch.stack(
            [(v.weight - torch.eye(len(v.weight), device=v.weight.device)).square().sum() for v in self.held[0]]
        ).sum()


def adapter_sites(module: nn.Module) -> dict[str, AdapterSite]:
    """The adapters of a model by the path of the block that they stand behind, in the model's order; empty for a model without."""
    found = getattr(module, "adapters", None)
    sites = found.items() if isinstance(found, nn.ModuleDict) else ()
    return {name.replace("/", "."): site for name, site in sites if isinstance(site, AdapterSite)}


def _sites(module: nn.Module, modules: list[str] | None) -> dict[str, nn.Module]:
    """Blocks by path: those whose path is or ends in one of ``modules``; by default the blocks that the model names ``tokens_i``."""
    known = dict(module.named_modules())
    if modules is None:
        points = getattr(module, "tap_points", {})
        paths = [path for name, path in points.items() if name.removeprefix("tokens_").isdigit()]
        if not paths:
            raise InputError("the model names no blocks of tokens: say after which modules adapters should stand")
        return {path: known[path] for path in paths}
    for wanted in modules:
        if not any(f".{name}".endswith(f".{wanted}") for name in known):
            raise InputError(f"the model has no module '{wanted}'{nearest(wanted, [n for n in known if n])}")
    return {n: m for n, m in known.items() if any(f".{n}".endswith(f".{wanted}") for wanted in modules)}


def _width_of(block: nn.Module, path: str) -> int:
    """The width of a block's output: that of its last linear layer."""
    layers: list[Any] = [m for m in block.modules() if is_linear(m)]
    if not layers:
        raise InputError(f"'{path}' has no linear layer that would tell the width of its output")
    return int(layers[-1].weight.shape[1 if is_transposed_linear(layers[-1]) else 0])


def frozen_base(spec: dict[str, Any], trainable: list[str] | None) -> nn.Module:
    """A frozen model of a complete specification, but for the modules ``trainable``."""
    part = catalog().get("model", spec["model"])
    module: nn.Module = part.load()(**{k: v for k, v in spec.items() if k not in ("model", "weights")})
    module.requires_grad_(False)
    for path in trainable or []:
        points = getattr(module, "tap_points", {})
        inner = dict(module.named_modules()).get(points.get(path, path))
        if inner is None:
            raise InputError(
                f"the model has no module '{path}'{nearest(path, [n for n, _ in module.named_modules() if n])}"
            )
        inner.requires_grad_(True)
    return module


def _attach(module: nn.Module, sites: dict[str, AdapterSite]) -> nn.Module:
    """Let each block's output pass through its adapters."""
    known = dict(module.named_modules())
    module.adapters = nn.ModuleDict({path.replace(".", "/"): site for path, site in sites.items()})
    for path, site in sites.items():
        known[path].register_forward_hook(site.after)
    return module


@model
def bottleneck_adapters(
    *, base: dict[str, Any], modules: list[str] | None = None, width: Count = 8, trainable: list[str] | None = None
) -> nn.Module:
    """A frozen model with a trained bottleneck ``h + U ReLU(D h + a) + b`` behind each block (Houlsby et al., 2019; Pfeiffer et al., 2021).

    Blocks are those whose paths are or end in ``modules``, by default all that the model names ``tokens_i``: whole layers of a
    transformer, which end in a feed-forward part. ``width`` is that of the bottleneck; U, a and b are 0 at first, so that nothing
    changes. ``trainable`` are modules of the base that train, too, such as its ``head``. Paths, taps, inputs and outputs are those
    of ``base``, whose specification is complete. Raises ``InputError`` if a name fits no module, or the model names no blocks.

    >>> network = models.bottleneck_adapters(base={"model": "causal_transformer", "vocabulary": 20}, width=4)
    >>> [(name, tuple(p.shape)) for name, p in network.named_parameters() if p.requires_grad][:2]
    [('adapters.blocks/0.bottlenecks.down', (1, 4, 48)), ('adapters.blocks/0.bottlenecks.up', (1, 48, 4))]
    """
    module = frozen_base(base, trainable)
    blocks = _sites(module, modules)
    return _attach(module, {p: AdapterSite(Bottlenecks(1, _width_of(b, p), width)) for p, b in blocks.items()})


@model
def scaled_adapters(
    *,
    base: dict[str, Any],
    count: Count,
    modules: list[str] | None = None,
    width: Count = 8,
    trainable: list[str] | None = None,
    granularity: Literal["vector", "scalar"] = "vector",
    shared: bool = False,
    normalise: Literal["none", "mean", "softmax"] = "none",
    dropout: Fraction = 0.3,
    learned: bool = True,
) -> nn.Module:
    """A frozen model with ``count`` frozen adapters behind each block, ``h + Σ_s ω_s ⊙ o_s(h)``, and trained ω (Frohmann et al., 2024).

    o_s is what the ``bottleneck_adapters`` s adds; ω_s is a ``vector`` [features] or a ``scalar``, of each block or ``shared`` by all, and
    neither positive nor of sum 1 unless it is ``normalise``d over s: ``mean`` divides by the sum, ``softmax`` takes the softmax.
    ``dropout`` acts on ω while training. ω is 1 / count at first; where it is not ``learned`` it stays as it is. ``base``, ``modules``,
    ``width`` and ``trainable`` are as of ``bottleneck_adapters``; so are paths, inputs and outputs. Raises ``InputError`` if a name fits no
    module, or blocks that share vectors differ in width.

    >>> inside = {"model": "encoder_transformer", "vocabulary": 20, "num_classes": 3}
    >>> network = models.scaled_adapters(base=inside, count=5, granularity="scalar", shared=True)
    >>> [(name, tuple(p.shape)) for name, p in network.named_parameters() if p.requires_grad]
    [('adapters.blocks/0.combine.scale', (5, 1))]
    """
    module = frozen_base(base, trainable)
    widths = {path: _width_of(block, path) for path, block in _sites(module, modules).items()}
    if shared and granularity == "vector" and len({*widths.values()}) > 1:
        raise InputError("blocks of different widths share no vectors of coefficients")
    one: nn.Parameter | None = None
    sites = {}
    for path, features in widths.items():
        if one is None or not shared:
            start = torch.full((count, features if granularity == "vector" else 1), 1 / count)
            one = nn.Parameter(start, requires_grad=learned)
        held = Bottlenecks(count, features, width).requires_grad_(False)
        sites[path] = AdapterSite(held, ScaledSum(one, dropout, normalise))
    return _attach(module, sites)


@model
def adapter_attention(
    *,
    base: dict[str, Any],
    count: Count,
    modules: list[str] | None = None,
    width: Count = 8,
    trainable: list[str] | None = None,
) -> nn.Module:
    """A frozen model with ``count`` frozen adapters behind each block, mixed for each token by trained attention (Pfeiffer et al., 2021).

    ``h + Σ_s softmax_s(q · k_s) V o_s`` with ``q = Q h``, ``k_s = K o_s`` and o_s what the ``bottleneck_adapters`` s adds: three square
    matrices a block. V starts at the identity; its inner module ``value_distance`` gives ``Σ ‖V - I‖²`` over blocks, which may be
    minimized, too. ``base``, ``modules``, ``width`` and ``trainable`` are as of ``bottleneck_adapters``; so are paths, inputs, outputs and
    what is raised.

    >>> inside = {"model": "encoder_transformer", "vocabulary": 20, "num_classes": 3}
    >>> network = models.adapter_attention(base=inside, count=5)
    >>> sum(p.numel() for p in network.parameters() if p.requires_grad) == 2 * (3 * 48 * 48 + 2 * 48)
    True
    """
    module = frozen_base(base, trainable)
    sites, values = {}, []
    for path, block in _sites(module, modules).items():
        features = _width_of(block, path)
        mix = AdapterAttention(features)
        values.append(mix.value)
        sites[path] = AdapterSite(Bottlenecks(count, features, width).requires_grad_(False), mix)
    module.value_distance = ValueDistance(values)
    return _attach(module, sites)
