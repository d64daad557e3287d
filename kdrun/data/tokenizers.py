"""From text to token ids and back: by characters, or by a tokenizer of transformers."""

from __future__ import annotations

import functools
import string
from typing import Any, Protocol

from kdrun.errors import DataError

__all__ = ["ALPHABET", "Tokenizer", "tokenizer"]

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
        try:
            from transformers import AutoTokenizer

            self.inner: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except ImportError:
            raise DataError(f"the tokenizer '{name}' needs the extra: pip install 'kdrun[llm]'") from None
        except (OSError, ValueError) as error:
            raise DataError(
                f"the tokenizer '{name}' is neither 'characters', a folder with a tokenizer of transformers nor "
                f"reachable on the hub: {str(error).splitlines()[0]}",
                key="data.tokenizer",
            ) from None

    def encode(self, text: str) -> list[int]:
        return list(self.inner.encode(text, add_special_tokens=False))

    def pieces(self) -> list[str]:
        return [self.inner.decode([i]) for i in range(len(self.inner))]


@functools.cache
def tokenizer(name: str, *, lower: bool = True) -> Tokenizer:
    """``characters`` (small letters only if ``lower``), or a tokenizer of transformers by folder or hub name.

    Raises ``DataError`` if there is no such tokenizer.
    """
    return _Characters(lower) if name == "characters" else _Pretrained(name)
