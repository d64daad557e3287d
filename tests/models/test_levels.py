"""Named taps of library models: a level means a stride, a feature is what the classifier reads, all are laid out alike."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.taps import Detour, resolve_tap, tap
from support.models import make
from support.tensors import generator

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


def tapped(network, image: torch.Tensor, *names: str) -> dict[str, torch.Tensor]:
    """What the taps of these names, or all, give when the model reads an image."""
    slots = {name: tap(network, name) for name in names or network.tap_points}
    with torch.no_grad():
        network(image)
    return {name: slot.take() for name, slot in slots.items()}


@pytest.mark.parametrize("name", PYRAMIDS)
def test_levels_of_timm_are_strides(name) -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = make("timm", name=name).eval()
        found = tapped(network, torch.zeros(1, 3, 224, 224), *(f"map_{i}" for i in (1, 2, 3, 4)))
    assert [value.shape[2:] for value in found.values()] == [(56, 56), (28, 28), (14, 14), (7, 7)]


@pytest.mark.parametrize(
    ("torchvision", "timm"),
    [("resnet18", "resnet18"), ("vgg11", "vgg11"), ("mobilenet_v3_small", "tf_mobilenetv3_small_100")],
)
def test_equal_names_are_equal_shapes_over_libraries(torchvision, timm) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    names = ("map_1", "map_2", "map_3", "map_4", "map", "feature", "head")
    sizes = []
    for library, name in (("timm", timm), ("torchvision", torchvision)):
        with torch.device("meta"):
            found = tapped(make(library, name=name).eval(), torch.zeros(1, 3, 64, 64), *names)
        sizes.append([value.shape for value in found.values()])
    assert sizes[0] == sizes[1]


def test_swin_s_maps_have_channels_before_pixels_in_every_library() -> None:
    """Inside, timm's and torchvision's have channels last, transformers' has tokens."""
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    pytest.importorskip("transformers")
    made = {
        "timm": {"name": "swin_tiny_patch4_window7_224"},
        "torchvision": {"name": "swin_t"},
        "transformers": {"name": "swin", "task": "image_classification"},
    }
    for library, options in made.items():
        with torch.device("meta"):
            network = make(library, **options).eval()
            found = tapped(
                network, torch.zeros(1, 3, 224, 224), "map_1", "map_2", "map_3", "map_4", "tokens", "feature"
            )
        assert [tuple(value.shape[1:]) for value in found.values()] == [
            (96, 56, 56),
            (192, 28, 28),
            (384, 14, 14),
            (768, 7, 7),
            (49, 768),
            (768,),
        ], library


@pytest.mark.parametrize("name", ["test_vit", "test_mambaout", "test_resnet", "test_efficientnet", "test_convnext"])
def test_maps_and_features_of_timm_are_those_that_it_gives_itself(name) -> None:
    timm = pytest.importorskip("timm")
    if not timm.is_model(name):
        pytest.skip("not in this release")
    network = make("timm", name=name).eval()
    image = torch.randn(1, 3, 160, 160, generator=generator(0))
    found = tapped(network, image)
    with torch.no_grad():
        own = network.forward_intermediates(image, norm=False, intermediates_only=True)
        feature = network.forward_head(network.forward_features(image), pre_logits=True)
    torch.testing.assert_close(found["map"], own[-1])
    torch.testing.assert_close(found["feature"], feature)
    torch.testing.assert_close(network.get_submodule(network.tap_points["head"])(feature), found["head"])


def test_tokens_ordered_for_pretraining_are_brought_into_the_image_s_order() -> None:
    pytest.importorskip("timm")
    network = make("timm", name="hiera_tiny_224", options={"embed_dim": 24}).eval()
    image = torch.randn(1, 3, 224, 224, generator=generator(0))
    found = tapped(network, image)
    with torch.no_grad():
        own = network.forward_intermediates(image, norm=False, intermediates_only=True)
    for level, expected in zip(("map_1", "map_2", "map_3", "map_4"), own, strict=True):
        torch.testing.assert_close(found[level], expected)
    torch.testing.assert_close(found["tokens"], own[-1].flatten(2).transpose(1, 2))


def test_feature_is_what_the_classifier_reads() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        for name, width in (
            ("caformer_s18", 512),
            ("deit_tiny_distilled_patch16_224", 192),
            ("dla46x_c", 256),  # a convolution, of one pixel
            ("sequencer2d_s", 384),
        ):
            network = make("timm", name=name).eval()
            found = tapped(network, torch.zeros(2, 3, 224, 224), "feature", "head")
            assert found["feature"].shape == (2, width), name
            assert found["head"].shape == (2, 100), name


def test_a_call_may_end_at_a_feature_and_start_from_it_whatever_the_classifier_is() -> None:
    """Of dla, the classifier is a convolution that reads [batch, width, 1, 1]."""
    pytest.importorskip("timm")
    network = make("timm", name="dla46x_c").eval()
    image = torch.randn(2, 3, 32, 32, generator=generator(0))
    with torch.no_grad():
        feature = Detour(network, [], "feature", key="k").run(network, [image], {})
        logits = network(image)
        again = Detour(network, ["feature"], None, key="k").run(network, [torch.zeros_like(image), feature], {})
    assert feature.shape == (2, 256)
    torch.testing.assert_close(again, logits)


def test_a_backbone_inside_of_another_model_keeps_its_layout() -> None:
    pytest.importorskip("torchvision")
    with torch.device("meta"):
        network = make("bottleneck_classifier", backbone={"model": "torchvision", "name": "swin_t"}).eval()
        found = tapped(network, torch.zeros(2, 3, 64, 64), "map_1", "tokens", "feature")
    assert [tuple(value.shape) for value in found.values()] == [(2, 96, 16, 16), (2, 4, 768), (2, 256)]


def test_several_classifiers_with_features_of_their_own_have_no_name() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = make("timm", name="crossvit_9_240")
    with pytest.raises(InputError, match="no module 'feature'"):
        resolve_tap(network, "feature")


def test_a_level_that_a_model_lacks_is_refused_with_those_it_has() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network, plain = make("timm", name="resnet10t"), make("timm", name="vit_tiny_patch16_224")
    with pytest.raises(InputError, match="no module 'map_5'.*its named taps: .*map_1, map_2, map_3, map_4"):
        resolve_tap(network, "map_5")
    with pytest.raises(
        InputError, match="no module 'map_2'.*its named taps: head, feature, map_3, map, tokens, tokens_1"
    ):
        resolve_tap(plain, "map_2")
    with pytest.raises(InputError, match="no module 'tokens'"):
        resolve_tap(network, "tokens")


def test_a_map_is_put_back_where_it_is_read() -> None:
    """In timm's ResNet as it is, in its MambaOut with channels last; a map of tokens has no place for the class token."""
    pytest.importorskip("timm")
    image = torch.randn(2, 3, 64, 64, generator=generator(0))
    for name in ("test_resnet", "test_mambaout"):
        network = make("timm", name=name).eval()
        with torch.no_grad():
            logits = network(image)
            level = tapped(network, image, "map_2")["map_2"]
            patched = Detour(network, ["map_2"], None, key="k")
            torch.testing.assert_close(patched.run(network, [torch.zeros_like(image), level], {}), logits)
    network = make("timm", name="test_vit", img_size=64).eval()
    level = tapped(network, image, "map")["map"]
    with pytest.raises(InputError, match="a map of tokens cannot be put back"):
        Detour(network, ["map"], None, key="k").run(network, [image, level], {})


def test_regnets_of_torchvision_are_built_without_memory() -> None:
    """Their constructors read values of tensors."""
    pytest.importorskip("torchvision")
    with torch.device("meta"):
        network = make("torchvision", name="regnet_y_400mf")
    assert {value.device.type for value in network.state_dict().values()} == {"meta"}
    assert {n: v.shape for n, v in network.state_dict().items()} == {
        n: v.shape for n, v in make("torchvision", name="regnet_y_400mf").state_dict().items()
    }


def test_mnasnet_takes_weights_of_which_no_version_is_said() -> None:
    pytest.importorskip("torchvision")
    given, taking = make("torchvision", name="mnasnet0_5"), make("torchvision", name="mnasnet0_5")
    for value in given.state_dict().values():
        value.add_(1)
    taking.load_state_dict(dict(given.state_dict()))
    assert all(torch.equal(v, given.state_dict()[n]) for n, v in taking.state_dict().items())
