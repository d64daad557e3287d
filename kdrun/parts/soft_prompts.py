"""Soft prompts put before the words of encoders (``initialize``)."""

from __future__ import annotations

import torch
from torch.nn import Module

from kdrun.models.soft_prompts import SoftPrompt
from kdrun.parts.bottlenecks import generator_on, wrapped
from kdrun.registry import initialize
from kdrun.types import Count, Fraction, Positive

__all__ = ["prefix_prompt"]


@initialize
def prefix_prompt(
    model: Module,
    *,
    length: Count = 20,
    spread: Positive = 1.0,
    dropout: Fraction = 0.0,
    trainable: list[str] | None = None,
    generator: torch.Generator,
) -> Module:
    """The model, frozen, with ``length`` trained keys and values before the words in each layer, drawn from ``N(0, spread²)`` (Liu et al., 2022).

    Options are those of the model ``prefix_prompt``. ``copied_weights`` with ``modules: [prompt]`` hands another task's prompt over.
    Raises ``InputError`` if the model has no layer that could attend to a prompt.
    """
    prompted = wrapped("prefix_prompt", model, {"length": length, "dropout": dropout, "trainable": trainable})
    prompt = prompted.prompt
    assert isinstance(prompt, SoftPrompt)
    prompt.draw(spread, generator_on(generator, prompt.table))
    return prompted
