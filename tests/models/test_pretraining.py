"""What libraries know of their models: how images were normalised, and which settings a configuration may say."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from kdrun.data.images import IMAGENET_MEAN, IMAGENET_STD
from kdrun.errors import InputError
from kdrun.models.external import timm
from kdrun.models.pretraining import statistics_of


def test_means_and_deviations_are_those_that_the_libraries_state() -> None:
    assert statistics_of({"model": "torchvision", "name": "resnet18"}) == (IMAGENET_MEAN, IMAGENET_STD)
    assert statistics_of({"model": "timm", "name": "resnet18"}) == (IMAGENET_MEAN, IMAGENET_STD)
    assert statistics_of({"model": "timm", "name": "vit_tiny_patch16_224"}) == ([0.5] * 3, [0.5] * 3)
    with pytest.raises(InputError, match="no mean and deviation are known of the model 'cnn'"):
        statistics_of({"model": "cnn"})
    with pytest.raises(InputError, match="'timm' resnet_18"):
        statistics_of({"model": "timm", "name": "resnet_18"})


def test_a_transformer_is_made_for_the_size_of_the_data() -> None:
    network = timm(name="vit_tiny_patch16_224", img_size=32, options={"depth": 1}, num_classes=3, in_channels=3)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert len(network.blocks) == 1


@pytest.mark.parametrize(
    "options",
    [{"checkpoint_path": "x.pt"}, {"cache_dir": "x"}, {"pretrained_cfg": {}}, {"norm_layer": "x"}, {"depth": "os"}],
)
def test_settings_that_read_files_or_name_code_are_refused(options) -> None:
    with pytest.raises(InputError, match=f"'{next(iter(options))}'"):
        timm(name="vit_tiny_patch16_224", options=options, num_classes=3, in_channels=3)


def test_data_are_normalised_as_the_named_model_was_trained(kdrun, tmp_path) -> None:
    for i in range(20):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (i, 2 * i, 3 * i)).save(path)
    words = ("data=folder", "data.root=pictures", "data.size=32", "transfer=none", "epochs=1", "student=mlp_tiny")
    refused = kdrun("check", "kd", *words, "data.normalize=taecher")
    assert "normalize names a model: teacher, student; got 'taecher' (did you mean 'teacher'?)" in refused.err
    assert "no mean and deviation are known" in kdrun("plan", "kd", *words, "data.normalize=student").err
    answer = kdrun("run", "kd", *words, "teacher=torchvision/resnet18", "data.normalize=teacher")
    assert answer.code == 0, answer.err
    (run,) = tmp_path.glob("runs/*/*")
    told = json.loads((run / "models.json").read_text())["fit_student"]["input"]
    assert (told["mean"], told["std"]) == (IMAGENET_MEAN, IMAGENET_STD)
