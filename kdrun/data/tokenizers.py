"""From text to token ids and back: by characters, or by a tokenizer of transformers."""

from __future__ import annotations

import functools
import string
from typing import Any, Protocol

from kdrun.errors import DataError

__all__ = ["ALPHABET", "Tokenizer", "letters", "pretrained_tokenizer", "tokenizer"]

ALPHABET = "\n " + string.ascii_lowercase + string.digits + string.punctuation + string.ascii_uppercase
"""Characters that the character tokenizer knows, in the order of their ids from 1 on; capitals come last."""

SPACE = "\u2581"
"""How SentencePiece writes a space."""


def letters(lower: bool) -> str:
    """The characters that have an id, without capitals if ``lower``."""
    return ALPHABET[: -len(string.ascii_uppercase)] if lower else ALPHABET


class Tokenizer(Protocol):
    """Text to token ids, and the text that each id stands for."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def pieces(self) -> list[str]:
        """The text of every id, in order."""
        ...

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """The ids of a text, and how many of its characters are read with each.

        Of ids that share a character, the last one has read it.
        """
        ...


class _Characters:
    """One id a character; 0 stands for all that the alphabet lacks, and for padding."""

    def __init__(self, lower: bool) -> None:
        self.letters = letters(lower)
        self.ids = {character: i for i, character in enumerate(self.letters, 1)}

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(character, 0) for character in text]

    def pieces(self) -> list[str]:
        return ["\0", *self.letters]

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        return self.encode(text), list(range(1, len(text) + 1))


class _Pretrained:
    """A tokenizer of transformers, by the name of a local folder or of a hub entry."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inner = pretrained_tokenizer(name, extra="llm", others="'characters', ")

    def encode(self, text: str) -> list[int]:
        return list(self.inner.encode(text, add_special_tokens=False))

    def pieces(self) -> list[str]:
        marks = self.inner.convert_ids_to_tokens(list(range(len(self.inner))))
        return [_spaced(self.inner.decode([i]), mark) for i, mark in enumerate(marks)]

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        if not self.inner.is_fast:
            raise DataError(
                f"the tokenizer '{self.name}' does not say where its tokens stand in a text: a fast one does"
            )
        found = self.inner(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(found["input_ids"]), [end for _, end in found["offset_mapping"]]


def _spaced(text: str, mark: Any) -> str:
    """The text of an id with the space that decoding takes from the beginning of what it is given (SentencePiece)."""
    return f" {text}" if isinstance(mark, str) and mark.startswith(SPACE) and not text.startswith(" ") else text


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
