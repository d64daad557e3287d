"""Write docs/taps.md: what the named taps of timm's, torchvision's and transformers' models are, a row a family.

python scripts/write_taps.py

Every model is planned on fake tensors, as `kdrun plan` does it; the slow tests compare each row with a run of the model.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdrun.data.dataset import Column
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import parse_step
from kdrun.models.building import resolve
from kdrun.runtime.fakes import on_meta
from kdrun.step.trace import trace

PAGE = Path(__file__).parent.parent / "docs" / "taps.md"
CLASSES = 7

TIMM = """
beit_base_patch16_224 halonet_h1 mobileone_s0 cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32
convnext_zepto_rms_ols cpubone_nano crossvit_9_240 csatv2 cs3darknet_focus_s cspnext_tiny davit_tiny
deepseek_vit_412m deit3_small_patch16_224 densenet121 dla46x_c dpn48b edgenext_xx_small efficientformer_l1
efficientformerv2_s0 test_efficientnet_ln efficientvim_m1 efficientvit_b0 efficientvit_m0
vit_pe_spatial_tiny_patch16_512 fasternet_t0 fastvit_s12 focalnet_tiny_srf gcvit_xxtiny ghostnet_050
hardcorenas_b hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny hrnet_w18_small iformer_t inception_next_atto
inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128 lowformer_b0 mambaout_femto
coatnet_rmlp_nano_rw_224 caformer_s18 gmlp_ti16_224 lcnet_035 mobilenetv5_base mobilevit_xxs mvitv2_tiny
naflexvit_base_patch16_parfac_gap nasnetalarge nest_tiny nextvit_small nf_regnet_b1 pit_ti_224 pnasnet5large
pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnety_002 repghostnet_050 repvit_m1 res2next50 resnest14d resnetblur18
resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050
swiftformer_xs swin_tiny_patch4_window7_224 swinv2_small_window8_256 swinv2_cr_small_224 tiny_vit_5m_224
tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny vit_small_patch8_224
vit_small_r26_s32_224 test_vit_relpos samvit_base_patch16_224 vitamin_small_224 volo_d1_224
ese_vovnet19b_slim_dw legacy_xception xception41p xcit_nano_12_p8_224 resnetv2_50x1_bit
deit_tiny_distilled_patch16_224 coat_lite_tiny vit_tiny_patch16_224 vit_small_patch14_dinov2 mixer_b16_224
""".split()  # noqa: SIM905

TORCHVISION = """
alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
mobilenet_v2 mobilenet_v3_small mobilenet_v3_large regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d
wide_resnet50_2 shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vit_b_16 vit_b_32
""".split()  # noqa: SIM905

IMAGES = """
beit bit clip convnext convnextv2 cvt data2vec-vision deit dinov2 dinov2_with_registers donut-swin efficientnet
focalnet hgnet_v2 hiera ijepa levit metaclip_2 mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 poolformer pp_lcnet
pvt pvt_v2 regnet resnet segformer siglip swiftformer swin swinv2 textnet vit vit_msn
""".split()  # noqa: SIM905

ENCODERS = ("albert", "bert", "distilbert", "electra", "modernbert", "mpnet", "roberta")

DECODERS = ("falcon", "gemma", "gpt2", "gpt_neox", "llama", "mamba", "mistral", "olmo", "opt", "phi", "qwen2", "qwen3")

SIZES = {"textnet": 224, "efficientnet": 224, "inception_v3": 299}
"""Images of other sizes than those that the library says of a model."""

LENGTH = 9

INTRODUCTION = """# Named taps of library models

`taps: {hint: map_2}` reads the same thing of any model of timm, torchvision and transformers:

- `map_1`, `map_2`, `map_3`, `map_4`, `map_5`: the deepest map at stride 4, 8, 16, 32 and 64, [batch, channels, height, width]. A stride is
  that of the image: a map of stride 8 of an image of 224 × 224 is 28 × 28 (27 × 27 where a model pads no borders). What a stem keeps at
  stride 1 or 2 has no name; a plain transformer, all of whose blocks keep patches of 16, has `map_3` alone, one of patches of 14 has none
  of these.
- `map`: the last map, whatever its stride.
- `tokens`: the last tokens of a model of tokens, behind its last norm, [batch, tokens, width], tokens of no patch (class, registers)
  first; of maps with channels last, the pixels row by row. `tokens_1`, `tokens_2`, …: what its blocks give, if all keep one stride.
- `head`: the classifier, the first one of a model that was distilled with two. `feature`: what it reads, [batch, width], whatever is done
  around it; of language models and labels of tokens [batch, length, width].

All are laid out alike, however a model does it inside: tokens, maps with channels last, several values, the order of masked pretraining.
What a model lacks is refused, with the names that it has. A model may be tapped anywhere else by the path of a module; `PATH:map` lays its
tokens out as a map, if their number fits the image, and is refused otherwise. `patch` puts a map back where a module gives one; a map of
tokens is refused there, since the tokens of no patch would be missing. In torchvision's ResNets with `small_images`, names stay and strides are
a fourth. kdrun's own models, which are made for small images, count their levels or blocks from 1
([reference](reference/model.md)).

The tables have the channels of each map, and the sizes of tokens and features, of one model a family. They are written by
`python scripts/write_taps.py`, and tests compare them with runs of the models.
"""


@dataclass(frozen=True)
class Subject:
    """A model of a library, and the task of one of transformers."""

    library: str
    name: str
    task: str = "image_classification"

    @property
    def spec(self) -> dict[str, Any]:
        """Its resolved specification."""
        own = {"task": self.task} if self.library == "transformers" else {}
        return resolve({"model": self.library, "name": self.name, **own}, {"num_classes": CLASSES, "in_channels": 3})

    @property
    def size(self) -> int:
        """Height and width of the images that it reads; 0: it reads text."""
        if self.task != "image_classification":
            return 0
        if self.library == "timm":
            import timm

            return int(timm.get_pretrained_cfg(self.name, allow_unregistered=True).input_size[1])
        return SIZES.get(self.name) or (_configured_size(self.name) if self.library == "transformers" else 224)

    @property
    def column(self) -> Column:
        """A row of what it reads."""
        return Column((3, self.size, self.size)) if self.size else Column((LENGTH,), torch.int64)


SUBJECTS = (
    *(Subject("timm", name) for name in TIMM),
    *(Subject("torchvision", name) for name in TORCHVISION),
    *(Subject("transformers", name) for name in IMAGES),
    *(Subject("transformers", name, "sequence_classification") for name in ENCODERS),
    *(Subject("transformers", name, "causal_lm") for name in DECODERS),
)


def _configured_size(kind: str) -> int:
    import transformers

    config = transformers.AutoConfig.for_model(kind)
    size = getattr(getattr(config, "vision_config", config), "image_size", 224) or 224
    return int(size if isinstance(size, int) else size[0])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what libraries say of fresh weights."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class Found:
    """What planning finds: the library's family, how many parameters there are, each named tap's shape without the batch."""

    family: str
    parameters: int
    shapes: Mapping[str, tuple[int, ...]]


def planned(subject: Subject) -> Found:
    """Plan a call of the model, all of whose named taps are read."""
    with quiet():
        made = on_meta(subject.spec)
        count, own, names = sum(p.numel() for p in made.parameters()), _family(subject, made), list(made.tap_points)
        if not names:
            return Found(own, count, {})
        step = {"nodes": {"s": {"call": "student", "from": ["batch.x"], "taps": {name: name for name in names}}}}
        read = [Ref("s", (name,)) for name in names]
        found = trace(
            parse_step(step, key="step"),
            specs={"student": subject.spec},
            tensors={},
            columns={"data": {"x": subject.column}},
            batch_size=2,
            sizes={},
            read=read,
        )
    shapes = {name: tuple(found.read[str(ref)].shape[1:]) for name, ref in zip(names, read, strict=True)}
    return Found(own, count, shapes)


def _family(subject: Subject, made: Any) -> str:
    """What the library calls the family."""
    if subject.library == "transformers":
        return subject.name
    own = next(c for c in type(made).__mro__ if c.__module__.startswith(subject.library))
    return own.__module__.rpartition(".")[2]


def row(subject: Subject, found: Found) -> str:
    """The line of a table."""
    shapes = found.shapes
    maps = [str(shapes[f"map_{i}"][0]) if f"map_{i}" in shapes else "" for i in range(1, 6)]
    last = " × ".join(map(str, shapes["map"])) if "map" in shapes else ""
    blocks = sum(name.startswith("tokens_") for name in shapes)
    tokens = " × ".join(map(str, shapes["tokens"])) if "tokens" in shapes else ""
    feature = " × ".join(map(str, shapes["feature"])) if "feature" in shapes else ""
    read = f"{subject.size} × {subject.size}" if subject.size else f"{LENGTH} tokens, {subject.task}"
    cells = [found.family, f"`{subject.name}`", read, *maps, last, tokens, str(blocks or ""), feature]
    return "| " + " | ".join(cells) + " |"


HEADER = """| family | model | reads | `map_1` | `map_2` | `map_3` | `map_4` | `map_5` | `map` | `tokens` | blocks | `feature` |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def page(rows: Sequence[tuple[Subject, str]]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for library in ("timm", "torchvision", "transformers"):
        own = [line for subject, line in rows if subject.library == library]
        parts.append(f"## {library}\n\n{HEADER}\n" + "\n".join(own) + "\n")
    return "\n".join(parts)


def main() -> None:
    PAGE.write_text(page([(s, row(s, planned(s))) for s in SUBJECTS]), encoding="utf-8")


if __name__ == "__main__":
    main()
