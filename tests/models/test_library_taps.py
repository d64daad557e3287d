"""Named taps of every family of library models: planned and run alike, by stride, as the page of the documents says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kdrun.models.building import build
from kdrun.models.levels import LEVEL_OF_STRIDE
from kdrun.models.taps import tap
from support.tensors import generator

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import write_taps  # noqa: E402

sys.path.remove(str(ROOT / "scripts"))

LARGEST = 40_000_000
"""Parameters of a model that is run, not only planned."""

UNPADDED = (
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "squeezenet1_0",
    "squeezenet1_1",
    "alexnet",
    "googlenet",
)
"""Convolutions without padding, whose maps are a few pixels smaller than the image over the stride."""

JOINED = (
    "efficientformer_l1",
    "efficientformerv2_s0",
    "levit_128",
    "swiftformer_xs",
    "deit_tiny_distilled_patch16_224",
    "swiftformer",
    "volo_d1_224",
)
"""Models whose logits are not those of the classifier alone: a second one was distilled, or patches have a say."""

BETWEEN = ("deit_tiny_distilled_patch16_224",)
"""Models of which timm gives the mean of what two classifiers read."""

WITHIN = ("clip", "metaclip_2", "siglip")
"""Architectures of transformers whose blocks are those of a model inside."""

OWN_LEVEL = ("densenet121",)
"""Models whose last level is taken before the norm, where timm takes it behind."""

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 64,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

subject = pytest.mark.parametrize("subject", write_taps.SUBJECTS, ids=lambda s: f"{s.library}-{s.name}")


def test_the_page_has_every_family_that_is_asked_for() -> None:
    lines = write_taps.PAGE.read_text(encoding="utf-8").splitlines()
    rows = {(cells[2].strip("` "), cells[1].strip()) for line in lines if len(cells := line.split("|")) > 6}
    assert {s.name for s in write_taps.SUBJECTS} <= {name for name, _ in rows}
    assert len({family for name, family in rows if name in write_taps.TIMM}) >= 80
    assert len({*write_taps.IMAGES, *write_taps.ENCODERS, *write_taps.DECODERS}) >= 15


def test_every_family_of_torchvision_s_classifiers_is_among_them() -> None:
    models = pytest.importorskip("torchvision").models
    families = {name: models.get_model_builder(name).__module__ for name in models.list_models(module=models)}
    assert {families[name] for name in write_taps.TORCHVISION} == {*families.values()}


@pytest.mark.slow
@subject
def test_taps_are_planned_as_the_page_says_and_run_so(subject) -> None:
    pytest.importorskip(subject.library)
    planned = write_taps.planned(subject)
    shapes = planned.shapes
    assert write_taps.row(subject, planned) in write_taps.PAGE.read_text(encoding="utf-8").splitlines()
    for name, shape in shapes.items():
        kind = name.partition("_")[0]
        assert len(shape) == {"map": 3, "tokens": 2}.get(kind, 1 if subject.size else len(shape)), name
    for stride, level in LEVEL_OF_STRIDE.items():
        slack = 4 if subject.name in UNPADDED else 1
        for length in shapes.get(f"map_{level}", ())[1:]:
            assert abs(length - subject.size / stride) <= slack
    if "map" in shapes:
        assert shapes["map"] == shapes.get(max((n for n in shapes if n.startswith("map_")), default="map"))
    few: dict[str, Any] = {"num_hidden_layers": 2}
    config = {"vision_config": few} if subject.name in WITHIN else few
    shallow = {"config": config} if subject.library == "transformers" and "tokens_12" in shapes else {}
    if subject.size and subject.size <= 512 and (shallow or planned.parameters <= LARGEST):
        with write_taps.quiet():
            _compare(subject, build({**subject.spec, **shallow}, seed=(0, "taps")).eval(), shapes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*write_taps.ENCODERS, *write_taps.DECODERS])
def test_taps_of_text_models_are_what_the_library_gives(kind) -> None:
    transformers = pytest.importorskip("transformers")
    task = "masked_lm" if kind in write_taps.ENCODERS else "causal_lm"
    plain = transformers.AutoConfig.for_model(kind)
    config = {name: value for name, value in TINY.items() if name in {*plain.to_dict(), *plain.attribute_map}}
    with write_taps.quiet():
        network: Any = build(
            {"model": "transformers", "name": kind, "task": task, "config": config}, seed=(0, "taps")
        ).eval()
        slots = {name: tap(network, name) for name in network.tap_points}
        rows = torch.randint(5, 60, (2, 9), generator=generator(0))
        with torch.no_grad():
            logits = network(rows).logits
            found = {name: slot.take() for name, slot in slots.items()}
            hidden = network.base_model(rows, output_hidden_states=True).hidden_states
    torch.testing.assert_close(found["head"], logits)
    assert found["feature"].shape[:2] == (2, 9)
    if kind == "albert":  # one block that runs several times
        assert "tokens" not in found
        return
    torch.testing.assert_close(found["tokens"], hidden[-1])
    first = 0 if kind == "mamba" else 1  # whose list leaves out what the blocks read
    torch.testing.assert_close(found["tokens_1"], hidden[first])
    assert "tokens_3" not in found


def _compare(subject, network: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Run the model: its taps have the planned shapes, and are what the library itself gives."""
    slots = {name: tap(network, name) for name in network.tap_points}
    rows = torch.randn(1, *subject.column.shape, generator=generator(0))
    with torch.no_grad():
        output = network(rows)
        found = {name: slot.take() for name, slot in slots.items()}
        assert {name: tuple(value.shape[1:]) for name, value in found.items()} == {name: shapes[name] for name in found}
        logits = (
            output if isinstance(output, torch.Tensor) else output.get("logits", output[0])
        )  # PP-LCNet names them otherwise
        if "head" in found and subject.name not in JOINED and found["head"].dim() == logits.dim():
            torch.testing.assert_close(found["head"], logits)
        if "head" in found:
            inner = network.get_submodule(network.tap_points["head"].partition(":")[0])
            if not isinstance(inner, torch.nn.Conv2d):
                torch.testing.assert_close(inner(found["feature"]), found["head"])
        if subject.library == "timm":
            _as_timm_says(subject, network, rows, found)
        elif subject.library == "transformers" and "tokens" in found:
            _as_transformers_says(network, rows, found)


def _as_timm_says(subject, network: Any, image: torch.Tensor, found: dict[str, torch.Tensor]) -> None:
    own = network.forward_intermediates(image, norm=False, intermediates_only=True)
    for name in found:
        if name.startswith("map") and not (subject.name in OWN_LEVEL and name in ("map_4", "map")):
            assert any(v.shape == found[name].shape and torch.allclose(v, found[name], atol=1e-4) for v in own), name
    if "feature" in found and subject.name not in BETWEEN:
        feature = network.forward_head(network.forward_features(image), pre_logits=True)
        feature = feature[0] if isinstance(feature, tuple) else feature
        torch.testing.assert_close(found["feature"], feature.flatten(1))


def _as_transformers_says(network: Any, rows: torch.Tensor, found: dict[str, torch.Tensor]) -> None:
    base = getattr(network, network.base_model_prefix, None) or network.vision_model
    last = base(rows).last_hidden_state
    if last.shape == found["tokens"].shape:
        torch.testing.assert_close(found["tokens"], last)
