"""Named taps of timm's models: by what the library describes, and by family where it describes nothing or something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from kdrun.models.levels import Place, path_of, with_points

__all__ = ["timm_points"]

STRIDES = (4, 8, 16, 32)

CHANNELS_LAST = ("hiera", "volo", "vision_transformer_sam")
"""Families whose blocks give [batch, height, width, channels] without their models saying so."""

NORMED = (
    *("beit", "cait", "convit", "deit", "efficientformer", "eva", "mlp_mixer", "mvitv2", "naflexvit", "tnt", "twins"),
    *("vision_transformer", "vision_transformer_hybrid", "vision_transformer_relpos", "vitamin", "volo", "xcit"),
    *("sequencer", "swin_transformer", "swin_transformer_v2"),
)
"""Families of tokens, the last of which their ``norm`` gives."""

LAST = ("deepseek_vit", "hiera", "hieradet_sam2", "levit", "qwen3_vit", "vision_transformer_sam")
"""Families of tokens, the last of which their last level gives."""


def timm_points(network: Any) -> nn.Module:
    """Attach named taps to a model of timm."""
    family = type(network).__module__.rpartition(".")[2]
    levels = LEVELS.get(family, _described)(network)
    normed = {"coat": "norm4"}.get(family, "norm" if family in NORMED else None)
    tokens = Place(normed) if normed else levels[-1] if family in LAST and levels else None
    even = len(levels) > 1 and len({place.stride for place in levels}) == 1
    return with_points(
        network,
        head=_classifier(network),
        levels=levels,
        tokens=tokens,
        blocks=levels if even and tokens else (),
        channels_last=getattr(network, "output_fmt", "") == "NHWC" or family in CHANNELS_LAST,
    )


def _classifier(network: Any) -> str | None:
    """The classifier as the library names it, the first one of a distilled model, which has one more for its teacher.

    None where several of them read features of their own. Of one that pools maps itself, the layer that reads what is pooled.
    """
    ask: Any = getattr(network, "get_classifier", None)
    given: Any = ask() if callable(ask) else None
    given = given[0] if isinstance(given, tuple) and given else given
    if isinstance(given, nn.ModuleList):
        return None
    return path_of(network, given.fc if hasattr(given, "global_pool") and hasattr(given, "fc") else given)


def _described(network: Any) -> list[Place]:
    """The levels that the library describes; the first of several values, if a level gives them."""
    described = [entry for entry in getattr(network, "feature_info", None) or [] if isinstance(entry, dict)]
    return [Place(str(entry["module"]), int(entry["reduction"])) for entry in described if entry["module"]]


def _second(network: Any) -> list[Place]:
    """Levels that give pixels of patches, then patches."""
    return [Place(place.path, place.stride, item=1) for place in _described(network)]


def _pyramid(template: str, network: Any) -> list[Place]:
    """Four levels, the ``template`` of whose paths takes 0 to 3."""
    return [Place(template.format(i), stride) for i, stride in enumerate(STRIDES)]


def _last_blocks(network: Any) -> list[Place]:
    return [Place(f"blocks.{i}.{len(network.blocks[i]) - 1}", stride) for i, stride in enumerate(STRIDES)]


def _co_scale(network: Any) -> list[Place]:
    """The last of the serial blocks; where parallel ones go on with all but the finest map, the last of these."""
    serial = [getattr(network, f"serial_blocks{i}") for i in (1, 2, 3, 4)]
    found = [
        Place(f"serial_blocks{i}.{len(b) - 1}", s) for i, (b, s) in enumerate(zip(serial, STRIDES, strict=True), 1)
    ]
    if network.parallel_blocks is None:
        return found
    last = f"parallel_blocks.{len(network.parallel_blocks) - 1}"
    return [found[0], *(Place(last, stride, item=i) for i, stride in enumerate(STRIDES) if i)]


@dataclass(frozen=True)
class _Rolled:
    """Brings the tokens of a block, ordered by the masks of pretraining, into the image's order by the model's own means."""

    reroll: nn.Module
    block: int

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens [batch, count, width] as a map [batch, height, width, channels]."""
        return self.reroll(tokens, self.block)


def _rolled(network: Any) -> list[Place]:
    ends = [(place, int(place.path.rpartition(".")[2])) for place in _described(network)]
    return [Place(place.path, place.stride, arrange=_Rolled(network.reroll, block)) for place, block in ends]


def _dense(network: Any) -> list[Place]:
    """The last level before the norm, as in all other families of convolutions."""
    return [Place(p.path.replace("norm5", "denseblock4"), p.stride) for p in _described(network)]


def _none(network: Any) -> list[Place]:
    """Two streams of patches of different sizes are no pyramid."""
    return []


LEVELS: dict[str, Callable[[Any], Sequence[Place]]] = {
    "coat": _co_scale,
    "crossvit": _none,
    "densenet": _dense,
    "hiera": _rolled,
    "hrnet": partial(_pyramid, "incre_modules.{}"),
    "mvitv2": partial(_pyramid, "stages.{}"),
    "tnt": _second,
    "twins": _last_blocks,
}
