"""From text to token ids and back: by characters, or by a tokenizer of transformers."""

from __future__ import annotations

import functools
import string
from typing import Any, Protocol

from kdrun.errors import DataError

__all__ = ["ALPHABET", "Tokenizer", "pretrained_tokenizer", "tokenizer"]

ALPHABET = "\n " + string.ascii_lowercase + string.digits + string.punctuation + string.ascii_uppercase
"""Characters that the character tokenizer knows, in the order of their ids from 1 on; capitals come last."""


class Tokenizer(Protocol):
    """Text to token ids, and the text that each id stands for."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def pieces(self) -> list[str]:
        """The text of every id, in order."""
        ...


class _Characters:
    """One id a character; 0 stands for all that the alphabet lacks, and for padding."""

    def __init__(self, lower: bool) -> None:
        self.letters = ALPHABET[: -len(string.ascii_uppercase)] if lower else ALPHABET
        self.ids = {character: i for i, character in enumerate(self.letters, 1)}

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(character, 0) for character in text]

    def pieces(self) -> list[str]:
        return ["\0", *self.letters]


class _Pretrained:
    """A tokenizer of transformers, by the name of a local folder or of a hub entry."""

    def __init__(self, name: str) -> None:
        self.inner = pretrained_tokenizer(name, extra="llm", others="'characters', ")

    def encode(self, text: str) -> list[int]:
        return list(self.inner.encode(text, add_special_tokens=False))

    def pieces(self) -> list[str]:
        return [self.inner.decode([i]) for i in range(len(self.inner))]


def pretrained_tokenizer(name: str, *, extra: str, others: str = "", folder: str | None = None) -> Any:
    """The tokenizer of transformers in a local folder, or of a hub entry; ``folder`` is where ``name`` stands for one.

    Raises ``DataError`` that names the ``extra`` to install, or says what ``name`` may be, ``others`` before the two.
    """
    try:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder or name, trust_remote_code=False)
    except ImportError as error:
        raise DataError(f"the tokenizer '{name}' needs an extra: pip install 'kdrun[{extra}]' ({error})") from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"the tokenizer '{name}' is neither {others}a folder with a tokenizer of transformers nor reachable on the hub: "
            f"{str(error).splitlines()[0]}",
            key="data.tokenizer",
        ) from None


@functools.cache
def tokenizer(name: str, *, lower: bool = True) -> Tokenizer:
    """``characters`` (small letters only if ``lower``), or a tokenizer of transformers by folder or hub name.

    Raises ``DataError`` if there is no such tokenizer.
    """
    return _Characters(lower) if name == "characters" else _Pretrained(name)
