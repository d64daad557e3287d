"""Models of timm, torchvision and transformers by their own names."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.taps import tap
from support.models import make


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_timm_models_by_name(name) -> None:
    pytest.importorskip("timm")
    size = 224 if "vit" in name else 64
    network = make("timm", name=name).eval()
    slot = tap(network, "feature")
    assert network(torch.randn(1, 3, size, size)).shape == (1, 100)
    assert slot.take().dim() == 2
    with pytest.raises(InputError, match="timm has no model 'resnt18' \\(did you mean 'resnet18'\\?\\)"):
        make("timm", name="resnt18")


def test_torchvision_models_by_name() -> None:
    pytest.importorskip("torchvision")
    network = make("torchvision", name="resnet18").eval()
    slots = [tap(network, f"map_{i}") for i in (1, 2, 3, 4)]
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 100)
    assert [s.take().shape[1] for s in slots] == [64, 128, 256, 512]
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        make("torchvision", name="resnet_18")


def test_transformers_models_by_architecture() -> None:
    pytest.importorskip("transformers")
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 50,
    }
    network = make("transformers", name="bert", task="sequence_classification", config=small)
    assert network(torch.randint(0, 50, (2, 7))).logits.shape == (2, 100)
    with pytest.raises(InputError, match="transformers cannot load 'no/such'"):
        make("transformers", name="no/such")


def test_what_an_architecture_does_not_do_is_refused_with_what_it_does() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="'resnet' of transformers does no causal_lm; say task: image_classification"):
        make("transformers", name="resnet")
    with pytest.raises(
        InputError,
        match="'t5' of transformers does no causal_lm; say task: sequence_classification or token_classification",
    ):
        make("transformers", name="t5")
