"""Models of transformers, built: by their configuration alone when a run is planned, with their weights when it runs.

Since its fifth edition the library gives a model the precision that its folder was written in, also where no weights are read.
Training in half precision needs more than that, so here weights are float32 unless another precision is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from kdrun.errors import InputError

__all__ = ["Precision", "built", "planning", "quiet", "set_padding"]

Precision = Literal["float32", "bfloat16", "float16", "auto"]
"""The dtype of a model's weights; ``auto`` is that of the folder or hub entry."""


def planning() -> bool:
    """Whether a run is planned: shapes are wanted, and no weights are read."""
    return torch.get_default_device().type == "meta"


def built(
    kind: Any, name: str, settings: Any, options: Mapping[str, Any], *, pretrained: bool, dtype: Precision = "float32"
) -> Any:
    """A model of the class ``kind`` with the configuration ``settings``, which has ``options`` in it; ``pretrained`` reads weights.

    Raises what the library raises for weights that it cannot find or read.
    """
    wanted = {_dtype_word(): dtype if dtype == "auto" else getattr(torch, dtype)}
    if pretrained and not planning():
        with quiet():
            return kind.from_pretrained(name, trust_remote_code=False, **wanted, **options)
    # The library builds on a device of its own unless one is named.
    with torch.device("meta" if planning() else "cpu"):
        return kind.from_config(settings, **({} if dtype == "auto" else wanted))


def set_padding(network: Any, name: str) -> None:
    """See that a model that looks for the last token before the padding knows the token that pads.

    Raises ``InputError`` if neither its configuration, nor the tokenizer of the folder or hub entry ``name``, nor a token that ends
    texts says one.
    """
    settings = network.config.get_text_config()
    if settings.pad_token_id is not None:
        return
    end = settings.eos_token_id[0] if isinstance(settings.eos_token_id, list) else settings.eos_token_id
    found = _tokenizer_padding(name)
    padding = found if found is not None else end
    if padding is None or not 0 <= int(padding) < int(settings.vocab_size):
        raise InputError(
            f"'{name}' classifies a text by its last token and knows no token that pads: give config: {{pad_token_id: ID}}"
        )
    settings.pad_token_id = network.config.pad_token_id = int(padding)


def _tokenizer_padding(name: str) -> int | None:
    """The padding token of the tokenizer that lies in a folder, or that a hub entry has."""
    from transformers import CONFIG_MAPPING, AutoTokenizer

    if name in CONFIG_MAPPING:
        return None
    with contextlib.suppress(OSError, ValueError, ImportError, KeyError, TypeError):
        found: int | None = AutoTokenizer.from_pretrained(name, trust_remote_code=False).pad_token_id
        return found
    return None


def _dtype_word() -> str:
    """What the library calls the precision: ``torch_dtype`` before 4.56."""
    from transformers import PretrainedConfig

    return "dtype" if hasattr(PretrainedConfig(), "dtype") else "torch_dtype"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bar while weights are read, which would stand in the middle of a run's own lines."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
