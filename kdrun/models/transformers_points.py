"""Named taps of transformers' models: by kind of architecture for images, by their stacks of blocks for tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdrun.models.levels import Place, last_linear, path_of, with_points

__all__ = ["transformers_points"]

STRIDES = (4, 8, 16, 32)

PLAIN = (
    *(
        "beit",
        "clip",
        "clip_vision_model",
        "data2vec-vision",
        "deit",
        "dinov2",
        "dinov2_with_registers",
        "ijepa",
        "metaclip_2",
    ),
    *("siglip", "siglip_vision_model", "vit", "vit_msn"),
)
"""Architectures whose blocks all keep the patches of the image."""

NORMS = (
    *("layernorm", "layer_norm", "post_layernorm", "norm", "ln_f", "norm_f", "final_norm", "final_layernorm"),
    *("final_layer_norm", "embedding_norm"),
)
"""What normalises the last tokens is called so, beside the blocks or where these are used."""

HEADS = ("classifier", "head", "fc", "score", "qa_outputs")


def transformers_points(network: Any) -> nn.Module:
    """Attach named taps to a model of transformers."""
    kind = network.config.model_type
    blocks = _blocks(network) if kind not in LEVELS and not getattr(network.config, "is_encoder_decoder", False) else []
    levels = LEVELS[kind](network) if kind in LEVELS else []
    if kind in PLAIN and blocks:
        size = _vision(network.config).patch_size
        levels = [Place(blocks[-1], int(size[0] if isinstance(size, list | tuple) else size))]
    last = TOKENS[kind](network, levels) if kind in TOKENS else _last(network, blocks)
    return with_points(
        network,
        head=_classifier(network, kind),
        levels=levels,
        tokens=last,
        blocks=[Place(path) for path in blocks],
        channels_last=kind == "hiera",
    )


def _vision(config: Any) -> Any:
    return getattr(config, "vision_config", config)


def _classifier(network: Any, kind: str) -> str | None:
    """What gives the logits: a language model's output layer, or the last linear layer of what is named as a classifier."""
    ask = getattr(network, "get_output_embeddings", None)
    path = path_of(network, ask() if callable(ask) else None)
    if path is not None:
        return path
    named = {name: getattr(network, name, None) for name in HEADS}
    inner = {name: last_linear(found) for name, found in named.items() if isinstance(found, nn.Module)}
    own = next((name for name, path in inner.items() if path is not None), None)
    if own is None or kind == "levit":  # which normalises inside of its classifier
        return own or last_linear(network)
    return f"{own}.{inner[own]}".rstrip(".")


def _blocks(network: Any) -> list[str]:
    """The paths of the longest stack of blocks; none where one block runs several times."""
    stacks = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.ModuleList)]
    outer = [(n, m) for n, m in stacks if not any(n.startswith(f"{o}.") for o, _ in stacks)]
    name, stack = max(outer, key=lambda entry: len(entry[1]), default=("", nn.ModuleList()))
    times = getattr(_vision(network.config), "num_hidden_layers", len(stack))
    return [f"{name}.{i}" for i in range(len(stack))] if len(stack) == times else []


def _last(network: Any, blocks: Sequence[str]) -> Place | None:
    """The last tokens: behind the norm that follows the blocks, or what the last block gives."""
    if not blocks:
        return None
    around = blocks[-1].rpartition(".")[0].rpartition(".")[0]
    places = [around, around.rpartition(".")[0]] if "." in around else [around]
    if network.config.model_type.startswith(("clip", "metaclip")):  # whose norm is that of the class token alone
        return Place(blocks[-1])
    found = (f"{place}.{name}".lstrip(".") for place in places for name in NORMS)
    modules = dict(network.named_modules())
    return Place(next((path for path in found if path in modules), blocks[-1]))


def _at(template: str, *, strides: Sequence[int] = STRIDES, step: int = 1) -> Callable[[Any], list[Place]]:
    """A level a stride; ``template`` takes the number of the stage, whose ``blocks`` may end it: the last of them is meant."""

    def levels(network: Any) -> list[Place]:
        modules = dict(network.named_modules())
        places = []
        for i, stride in enumerate(strides):
            path, more, _ = template.format(i * step).partition(".last")
            if more and path in modules:
                path = f"{path}.{len(modules[path]) - 1}"
            places.append(Place(path, stride))
        return places

    return levels


def _along(stack: str, start: int, *beyond: Place) -> Callable[[Any], list[Place]]:
    """The blocks of a stack without shortcuts that stride, which begins at stride ``start``, and what lies beyond."""

    def levels(network: Any) -> list[Place]:
        return [*_strided(network.get_submodule(stack), stack, start), *beyond]

    return levels


def _strided(stack: nn.Module, path: str, stride: int) -> Iterator[Place]:
    for name, block in stack.named_children():
        stride *= math.prod(int(m.stride[0]) for m in block.modules() if isinstance(m, nn.Conv2d))
        yield Place(f"{path}.{name}", stride)


@dataclass(frozen=True)
class _Rolled:
    """Brings the tokens of a stage, ordered by the masks of pretraining, into the image's order by the model's own means."""

    encoder: Any
    stage: int

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens [batch, count, width] as a map [batch, height, width, channels]."""
        return self.encoder.reroll(tokens, stage_idx=self.stage)


def _rolled(network: Any) -> list[Place]:
    encoder = network.hiera.encoder
    return [Place(f"hiera.encoder.stages.{i}", s, arrange=_Rolled(encoder, i)) for i, s in enumerate(STRIDES)]


def _subsampled(network: Any) -> list[Place]:
    """The last block of each stage before the one that takes fewer tokens."""
    places = []
    for i, (stage, stride) in enumerate(zip(network.levit.encoder.stages, (16, 32, 64), strict=True)):
        kinds = [type(layer).__name__ for layer in stage.layers]
        last = kinds.index("LevitAttentionSubsample") if "LevitAttentionSubsample" in kinds else len(kinds)
        places.append(Place(f"levit.encoder.stages.{i}.layers.{last - 1}", stride))
    return places


def _norm(path: str) -> Callable[[Any, Sequence[Place]], Place]:
    return lambda network, levels: Place(path)


LEVELS: dict[str, Callable[[Any], list[Place]]] = {
    "bit": _at("bit.encoder.stages.{}"),
    "convnext": _at("convnext.encoder.stages.{}"),
    "convnextv2": _at("convnextv2.encoder.stages.{}"),
    "cvt": _at("cvt.encoder.stages.{}", strides=(4, 8, 16)),
    "donut-swin": _at("donut.encoder.layers.{}.blocks.last"),
    "efficientnet": _along("efficientnet.encoder.blocks", 2),
    "focalnet": _at("focalnet.encoder.stages.{}.layers.last"),
    "hgnet_v2": _at("encoder.stages.{}"),
    "hiera": _rolled,
    "levit": _subsampled,
    "mobilenet_v1": _along("mobilenet_v1.layer", 2),
    "mobilenet_v2": _along("mobilenet_v2.layer", 2),
    "mobilevit": lambda network: [
        *_at("mobilevit.encoder.layer.{}", strides=(2, 4, 8, 16))(network),
        Place("mobilevit.conv_1x1_exp", 32),
    ],
    "mobilevitv2": _at("mobilevitv2.encoder.layer.{}", strides=(2, *STRIDES)),
    "poolformer": _at("poolformer.encoder.block.{}.last"),
    "pp_lcnet": _at("encoder.blocks.{}", strides=(2, *STRIDES)),
    "pvt": _at("pvt.encoder.block.{}.last"),
    "pvt_v2": _at("pvt_v2.encoder.layers.{}.layer_norm"),
    "regnet": _at("regnet.encoder.stages.{}"),
    "resnet": _at("resnet.encoder.stages.{}"),
    "segformer": _at("segformer.stages.{}"),
    "swiftformer": _at("swiftformer.encoder.network.{}", step=2),
    "swin": _at("swin.encoder.layers.{}.blocks.last"),
    "swinv2": _at("swinv2.encoder.layers.{}.blocks.last"),
    "textnet": _at("textnet.encoder.stages.{}"),
}

TOKENS: dict[str, Callable[[Any, Sequence[Place]], Place | None]] = {
    **{kind: lambda network, levels: levels[-1] for kind in ("donut-swin", "hiera", "levit")},
    "focalnet": _norm("focalnet.layernorm"),
    "pvt": _norm("pvt.encoder.layer_norm"),
    "swin": _norm("swin.layernorm"),
    "swinv2": _norm("swinv2.layernorm"),
}
