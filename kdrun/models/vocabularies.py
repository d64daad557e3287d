"""Whether a model of text can read the tokens that data give it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdrun.data.tokenizers import pretrained_tokenizer
from kdrun.errors import DataError

__all__ = ["unreadable"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")


def unreadable(spec: Mapping[str, Any], tokenizer: str | None, vocabulary: int | None) -> str | None:
    """Why the model of a specification cannot read the ids of a data set's ``tokenizer``, of which there are ``vocabulary``; else None.

    A pretrained model of a folder reads those of the tokenizer that lies there.
    """
    own = spec.get("vocabulary")
    if isinstance(own, int) and vocabulary is not None and own < vocabulary:
        return f"it has a vocabulary of {own}, and there are {vocabulary} ids"
    folder = Path(str(spec.get("name")))
    pretrained = spec.get("model") == "transformers" and spec.get("pretrained")
    if tokenizer is None or not pretrained or not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    return None if _same(str(folder), tokenizer) else f"it was trained on those of the tokenizer in {folder}"


def _same(folder: str, tokenizer: str) -> bool:
    """Whether two tokenizers give the same ids to the same pieces, as far as both lie on this machine."""
    if folder == tokenizer or not (Path(tokenizer).is_dir() or tokenizer in ("characters", "byte_pairs")):
        return True
    if not Path(tokenizer).is_dir():
        return False
    try:
        first, second = (pretrained_tokenizer(name, extra="llm").get_vocab() for name in (folder, tokenizer))
    except DataError:  # said where data are read
        return True
    return bool(first == second)
