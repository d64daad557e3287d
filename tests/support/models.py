"""Small models with weights that a seed decides."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kdrun.models.building import build, resolve
from kdrun.models.small_transformers import CausalTransformer
from kdrun.models.spaces import ChoiceSpace

__all__ = ["CHOICES", "LINEAR_LAYERS", "SIZES", "causal", "choice_space", "make", "nano"]

# What a data set would tell a model.
SIZES = {"num_classes": 100, "in_channels": 3, "image_size": 32, "in_features": 3072, "vocabulary": 50}
CHOICES = {
    "depths": [[1, 2, 3], [1, 2, 3]],
    "kernels": [[1, 3], [1, 3]],
    "widths": [[4, 8], [16]],
    "skip": [True, False],
}
# The linear maps of a block of ``nano``.
LINEAR_LAYERS = ("attention.project_in", "attention.project_out", "feed.0", "feed.2")


def make(part: str, /, **options: Any) -> nn.Module:
    """The model of this name; sizes that are left out are ``SIZES``."""
    return build(resolve({"model": part, **options}, SIZES), seed=(0, "test"))


def causal(seed: int, vocabulary: int = 11, max_length: int = 16) -> CausalTransformer:
    """A causal transformer whose weights are large enough for its answers to differ."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = CausalTransformer(vocabulary=vocabulary, dim=16, depth=2, heads=2, max_length=max_length)
        for parameter in made.parameters():
            parameter.data.mul_(4.0)
    return made.eval()


def nano() -> nn.Module:
    """A causal transformer of two blocks over 37 words."""
    spec = {"model": "causal_transformer", "vocabulary": 37, "max_length": 20, "size": "nano"}
    return build(spec, seed=(3,))


def choice_space() -> ChoiceSpace:
    """Staged networks with the choices of ``CHOICES``."""
    return ChoiceSpace(model={"model": "staged_network"}, choices=CHOICES)
