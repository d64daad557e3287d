"""Small models of transformers in folders as the library writes them, and a recipe that trains one on text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

__all__ = ["CHARACTERS", "GPT2", "TRAINED", "WORDS", "saved", "tiny"]

# How many ids the tokenizer by characters has.
CHARACTERS = 71
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": CHARACTERS, "bos_token_id": 1, "eos_token_id": 1}
TRAINED = """
graph:
  fit_student:
    stage: train
    from: {model: student, data: data.train, optimizer: optimizer}
    step: language_modeling
    steps: 3
    batch_size: 4
  test:
    stage: measure
    from: {model: fit_student, data: data.test}
    step: token_losses
    metrics: [{metric: perplexity, from: [losses]}]
"""
WORDS = (
    "data=docstrings",
    "data.block=16",
    "data.train_characters=2000",
    "data.valid_characters=400",
    "data.test_characters=400",
)


def tiny(architecture: str, head: str = "CausalLM", *, seed: int = 0, **settings: Any) -> Any:
    """A model of an architecture with a head, in eval mode, whose weights are large enough for its answers to differ."""
    import transformers

    config = transformers.AutoConfig.for_model(architecture, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = getattr(transformers, f"AutoModelFor{head}").from_config(config).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(3.0)
    return made


def saved(folder: Path, model: Any) -> str:
    """The folder, with the model in it."""
    from kdrun.models.transformers_loading import quiet

    with quiet():
        model.save_pretrained(folder)
    return str(folder)
