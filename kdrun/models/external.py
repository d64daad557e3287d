"""Models of timm, torchvision and transformers, by their own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kdrun.errors import InputError, nearest
from kdrun.models.levels import last_linear, levels_by_stride, with_points
from kdrun.models.transformers_options import configuration
from kdrun.registry import model
from kdrun.types import Size

__all__ = ["huggingface", "timm", "torchvision"]


@model(requires=("timm",))
def timm(*, name: str, pretrained: bool = False, num_classes: Size = "auto", in_channels: Size = "auto") -> nn.Module:
    """Any model of timm by ``name``, such as ``resnet34``; ``pretrained`` loads weights from the hub.

    Reads images [batch, in_channels, h, w] of a size that the model takes and gives logits [batch, num_classes]. Taps:
    ``head`` (the classifier), ``feature`` (what it reads), unless it is a convolution, and where timm knows levels
    ``map_1`` (stride 4), ``map_2`` (8), ``map_3`` (16), ``map_4`` (32) and ``map`` (the last), as the model has them;
    where all blocks keep one stride, ``map_i`` is the i-th block. Any inner module by its path. Raises ``InputError`` for an unknown name, or when the hub cannot be reached.

    >>> models.timm(name="resnet10t", num_classes=3, in_channels=1)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """
    import timm as library

    if not library.is_model(name):
        raise InputError(f"timm has no model '{name}'{nearest(name, library.list_models())}")
    try:
        network = library.create_model(
            name, pretrained=pretrained, num_classes=int(num_classes), in_chans=int(in_channels)
        )
    except Exception as error:
        if not pretrained:
            raise InputError(f"timm cannot build '{name}': {error}") from error
        raise InputError(
            f"the weights of '{name}' cannot be loaded from the hub ({type(error).__name__}); set pretrained=false"
        ) from error
    described = [entry for entry in getattr(network, "feature_info", None) or [] if isinstance(entry, dict)]
    return with_points(network, levels_by_stride(network, described))


TORCHVISION_LEVELS = (
    ("layer1", "layer2", "layer3", "layer4"),
    ("features.denseblock1", "features.denseblock2", "features.denseblock3", "features.denseblock4"),
)


@model(requires=("torchvision",))
def torchvision(
    *, name: str, pretrained: bool = False, small_images: bool = False, num_classes: Size = "auto"
) -> nn.Module:
    """Any classification model of torchvision by ``name``, with a head of ``num_classes``.

    ``pretrained`` fetches the library's default weights. ``small_images`` gives a ResNet the stem of the CIFAR
    literature: a 3×3 convolution without stride or pooling. Reads images [batch, 3, h, w] and gives logits [batch,
    num_classes]. Taps: ``head`` (the last linear layer), ``feature`` (what it reads), for ResNets and DenseNets
    ``map_1`` (stride 4; 1 with ``small_images``) to ``map_4`` and ``map``. Raises ``InputError`` for an unknown name, or when the weights cannot be
    fetched.

    >>> network = models.torchvision(name="resnet18", small_images=True, num_classes=3).eval()
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3])
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise InputError(f"torchvision has no classification model '{name}'{nearest(name, known)}")
    classes = int(num_classes)
    if not pretrained:
        network = models.get_model(name, weights=None, num_classes=classes)
    else:
        try:
            network = models.get_model(name, weights="DEFAULT")
        except Exception as error:
            raise InputError(
                f"the weights of '{name}' cannot be fetched ({type(error).__name__}); set pretrained=false"
            ) from error
        if classes != 1000:
            _replace_head(network, classes)
    if small_images:
        _small_stem(network, name)
    modules = dict(network.named_modules())
    levels: tuple[str, ...] = next((paths for paths in TORCHVISION_LEVELS if all(p in modules for p in paths)), ())
    named = {f"map_{i}": path for i, path in enumerate(levels, 1)}
    return with_points(network, {**named, **({"map": levels[-1]} if levels else {})})


def _small_stem(network: nn.Module, name: str) -> None:
    first = getattr(network, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(network, "maxpool"):
        raise InputError(f"small_images is for ResNets, not for '{name}'")
    network.conv1 = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()


def _replace_head(network: nn.Module, classes: int) -> None:
    path = last_linear(network)
    if path is None:
        raise InputError("this model has no linear head to replace; give num_classes: 1000")
    parent, _, leaf = path.rpartition(".")
    old = network.get_submodule(path)
    assert isinstance(old, nn.Linear)
    setattr(network.get_submodule(parent) if parent else network, leaf, nn.Linear(old.in_features, classes))


TASKS = {
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "image_classification": "AutoModelForImageClassification",
    "masked_lm": "AutoModelForMaskedLM",
    "causal_lm": "AutoModelForCausalLM",
}


@model(name="transformers", extra="llm", requires=("transformers",))
def huggingface(
    *,
    name: str,
    task: Literal[
        "sequence_classification", "token_classification", "image_classification", "masked_lm", "causal_lm"
    ] = "causal_lm",
    pretrained: bool = False,
    config: dict[str, Any] | None = None,
    num_classes: Size = "auto",
) -> nn.Module:
    """Any model of transformers: an architecture (``bert``, ``llama``) with ``config``, a hub name or a local folder.

    ``task`` says which head there is; ``config`` has settings in the library's names. ``pretrained`` loads weights; a
    name that is no architecture then comes from the hub or a folder. No code from a hub is ever run, and options of the
    library's loader (where to keep files, secrets, kernels) are refused. Reads what the
    model reads, such as ``input_ids`` [batch, length] (int64); the outputs are the library's, among them ``logits``:
    [batch, num_classes] for ``sequence_classification`` and ``image_classification``, [batch, length, num_classes] for
    ``token_classification``, [batch, length, vocabulary] for language models. Raises ``InputError`` if the name is
    unknown or cannot be reached.

    >>> small = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 20, "bos_token_id": 0, "eos_token_id": 0}
    >>> models.transformers(name="gpt2", config=small)(torch.zeros(2, 5, dtype=torch.int64)).logits.shape
    torch.Size([2, 5, 20])
    """
    import transformers

    options = dict(config or {})
    if task.endswith("classification"):
        options["num_labels"] = int(num_classes)
    kind = getattr(transformers, TASKS[task])
    known = list(transformers.CONFIG_MAPPING)
    try:
        settings = configuration(name, options, architecture=name if name in known and not pretrained else None)
        if pretrained:
            return with_points(kind.from_pretrained(name, trust_remote_code=False, **options), {})
    except (OSError, ValueError) as error:
        place = "" if Path(name).exists() else " (neither an architecture, a local folder nor reachable on the hub)"
        raise InputError(
            f"transformers cannot load '{name}'{place}{nearest(name, known)}: {str(error).splitlines()[0]}"
        ) from error
    with torch.device("meta") if torch.get_default_device().type == "meta" else torch.device("cpu"):
        return with_points(kind.from_config(settings), {})
