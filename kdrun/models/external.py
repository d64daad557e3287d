"""Models of timm, torchvision and transformers, by their own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import nn

from kdrun.errors import InputError, nearest
from kdrun.models.levels import last_linear
from kdrun.models.masks import heed_padding
from kdrun.models.pretraining import checked_timm_options
from kdrun.models.timm_points import timm_points
from kdrun.models.torchvision_points import ValuesInConstructors, torchvision_points
from kdrun.models.transformers_loading import built, planning, set_padding
from kdrun.models.transformers_options import configuration
from kdrun.models.transformers_points import transformers_points
from kdrun.registry import model
from kdrun.types import Count, PretrainedName, Size

__all__ = ["huggingface", "timm", "torchvision"]


@model(requires=("timm",))
def timm(
    *,
    name: str,
    pretrained: bool = False,
    img_size: Count | list[Count] | None = None,
    options: dict[str, Any] | None = None,
    num_classes: Size = "auto",
    in_channels: Size = "auto",
) -> nn.Module:
    """Any model of timm by ``name``, such as ``resnet34``; ``pretrained`` loads weights from the hub.

    ``img_size`` is for those that are made for one size, such as vision transformers (default: their own); ``options`` are
    further settings of the architecture (``drop_path_rate``, ``patch_size``, ``global_pool``, …), none that fetches or reads files.
    Reads images [batch, in_channels, h, w] of a size that the model takes and gives logits [batch, num_classes]. Taps, as the
    model has them (docs/taps.md): ``head`` (the classifier), ``feature`` (what it reads), ``map_1`` (the deepest map of stride 4),
    ``map_2`` (8), ``map_3`` (16), ``map_4`` (32), ``map_5`` (64) and ``map`` (the last), ``tokens`` (the last) and ``tokens_i`` (of the
    i-th block). Any inner module by its path. Raises ``InputError`` for an unknown name, or when the hub cannot be reached.

    >>> models.timm(name="resnet10t", num_classes=3, in_channels=1)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """
    import timm as library

    if not library.is_model(name):
        raise InputError(f"timm has no model '{name}'{nearest(name, library.list_models())}")
    given = checked_timm_options(options or {})
    if img_size is not None:
        given["img_size"] = tuple(img_size) if isinstance(img_size, list) else img_size
    try:
        network = library.create_model(
            name, pretrained=pretrained, num_classes=int(num_classes), in_chans=int(in_channels), **given
        )
    except Exception as error:
        if not pretrained:
            raise InputError(f"timm cannot build '{name}': {error}") from error
        raise InputError(
            f"the weights of '{name}' cannot be loaded from the hub ({type(error).__name__}); set pretrained=false"
        ) from error
    return timm_points(network)


@model(requires=("torchvision",))
def torchvision(
    *, name: str, pretrained: bool = False, small_images: bool = False, num_classes: Size = "auto"
) -> nn.Module:
    """Any classification model of torchvision by ``name``, with a head of ``num_classes``.

    ``pretrained`` fetches the library's default weights. ``small_images`` gives a ResNet the stem of the CIFAR
    literature: a 3×3 convolution without stride or pooling. Reads images [batch, 3, h, w] and gives logits [batch,
    num_classes]. Taps (docs/taps.md): ``head`` (the last linear layer), ``feature`` (what it reads), ``map_1`` (the deepest map of
    stride 4; 1 with ``small_images``), ``map_2`` (8), ``map_3`` (16), ``map_4`` (32) and ``map`` (the last), and of transformers
    ``tokens``. Raises ``InputError`` for an unknown name, or when the weights cannot be fetched.

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
        with ValuesInConstructors():
            network = models.get_model(name, weights=None, num_classes=classes)
        network = network.to("meta") if planning() else network
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
    return torchvision_points(network)


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
    name: PretrainedName,
    task: Literal[
        "sequence_classification", "token_classification", "image_classification", "masked_lm", "causal_lm"
    ] = "causal_lm",
    pretrained: bool = False,
    config: dict[str, Any] | None = None,
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
    num_classes: Size = "auto",
) -> nn.Module:
    """Any model of transformers: an architecture (``bert``, ``llama``) with ``config``, a hub name or a local folder.

    ``task`` says which head there is; ``config`` has settings in the library's names. ``pretrained`` loads weights (a plan
    reads the configuration alone); a name that is no architecture then comes from the hub or a folder. ``dtype`` is that of the
    weights, whatever they were saved in; ``auto`` keeps that. No code from a hub is ever run, and options of the
    library's loader (where to keep files, secrets, kernels) are refused. Reads what the
    model reads, such as ``input_ids`` [batch, length] (int64); the outputs are the library's, among them ``logits``:
    [batch, num_classes] for ``sequence_classification`` and ``image_classification``, [batch, length, num_classes] for
    ``token_classification``, [batch, length, vocabulary] for language models. Taps, as the model has them (docs/taps.md):
    ``head``, ``feature``, ``tokens``, ``tokens_i`` (of the i-th block), and of images ``map_1`` (stride 4) to ``map_5`` (64) and
    ``map``. Raises ``InputError`` if the name is unknown or cannot be reached.

    With a mask of real tokens (``attention_mask`` [batch, length], which is handed on wherever the data have one), padded text is read
    as it is without padding. Models that classify a text by its last token need one that pads: that of the configuration,
    else of the tokenizer beside it, else the token that ends texts; it counts where there is no mask.

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
        if type(settings) not in kind._model_mapping:
            offered = [t for t, other in TASKS.items() if type(settings) in getattr(transformers, other)._model_mapping]
            does = f"say task: {' or '.join(offered)}" if offered else f"it does none of: {', '.join(TASKS)}"
            raise InputError(f"'{name}' of transformers does no {task}; {does}")
        settings.architectures = settings.architectures or []  # by which the library chooses among several classes
        network = built(kind, name, settings, options, pretrained=pretrained, dtype=dtype)
    except (OSError, ValueError) as error:
        place = "" if Path(name).exists() else " (neither an architecture, a local folder nor reachable on the hub)"
        raise InputError(
            f"transformers cannot load '{name}'{place}{nearest(name, known)}: {str(error).splitlines()[0]}"
        ) from error
    by_last = task == "sequence_classification" and isinstance(getattr(network, "score", None), nn.Linear)
    if by_last:
        set_padding(network, name)
    heed_padding(network, causal=by_last or task == "causal_lm", by_last=by_last)
    return transformers_points(network)
