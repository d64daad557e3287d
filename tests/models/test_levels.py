"""Named taps of library models: a level means a stride, a feature is what the classifier reads."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.taps import resolve_tap, tap
from support.models import make

PYRAMIDS = [
    "resnet10t",
    "regnety_002",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "densenet121",
    "vgg11",
    "dla34",
    "resnetv2_50",
    "convnext_atto",
]


@pytest.mark.parametrize("name", PYRAMIDS)
def test_levels_of_timm_are_strides(name) -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = make("timm", name=name).eval()
        slots = [tap(network, f"map_{i}") for i in (1, 2, 3, 4)]
        network(torch.zeros(1, 3, 224, 224))
    assert [slot.take().shape[2:] for slot in slots] == [(56, 56), (28, 28), (14, 14), (7, 7)]


def test_equal_names_pair_equal_sizes_over_libraries() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    sizes = []
    for library in ("timm", "torchvision"):
        with torch.device("meta"):
            network = make(library, name="resnet18").eval()
            slots = [tap(network, f"map_{i}") for i in (1, 2, 3, 4)]
            network(torch.zeros(1, 3, 64, 64))
        sizes.append([slot.take().shape for slot in slots])
    assert sizes[0] == sizes[1]


def test_feature_is_what_the_classifier_reads() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        for name, width in (("caformer_s18", 512), ("deit_tiny_distilled_patch16_224", 192)):
            network = make("timm", name=name).eval()
            slot = tap(network, "feature")
            network(torch.zeros(1, 3, 224, 224))
            assert slot.take().shape == (1, width)
        assert resolve_tap(network, "head")[0] is network.head


def test_a_level_that_a_model_lacks_is_refused_with_those_it_has() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = make("timm", name="resnet10t")
    with pytest.raises(InputError, match="no module 'map_5'.*its named taps: .*map_1, map_2, map_3, map_4"):
        resolve_tap(network, "map_5")
