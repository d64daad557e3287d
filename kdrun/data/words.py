"""Rows of token ids as text that a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from kdrun.data.biographies import SPECIAL, SyntheticBiographies
from kdrun.data.dataset import Dataset
from kdrun.data.encyclopedias import RELATIONS
from kdrun.data.facts import FactBank
from kdrun.data.tokenizers import pretrained_tokenizer, tokenizer
from kdrun.errors import DataError, InputError
from kdrun.registry import catalog

__all__ = ["Reader", "as_numbers", "reader_of", "relation_names"]

Reader = Callable[[Tensor], str]
"""From token ids [length] (int64) to text; ids below 0 and padding are left out."""


def reader_of(data: Dataset) -> Reader:
    """How the tokens of ``data`` read: by ``extra["words"]`` (a word an id), by its tokenizer, else as their numbers."""
    name, options = _source(data)
    words = data.info.extra.get("words") or (WORDS[name](options) if name in WORDS else None)
    if words:
        return lambda ids: " ".join(words[i] for i in ids.tolist() if 0 <= i < len(words) and words[i])
    return _by_tokenizer(data.info.extra.get("tokenizer") or options.get("tokenizer")) or as_numbers


def as_numbers(ids: Tensor) -> str:
    """Token ids as they are, for tokens of which nothing says what they stand for."""
    return " ".join(str(i) for i in ids.tolist() if i >= 0)


def relation_names(data: Dataset, count: int) -> list[str]:
    """The names of ``count`` relations of a knowledge graph's triples: its own where they are known, else numbers."""
    told = data.info.extra.get("relation_names") or (RELATIONS if _source(data)[0] == "encyclopedia" else ())
    return [str(told[i]) if i < len(told) else f"relation {i}" for i in range(count)]


def _source(data: Dataset) -> tuple[str, dict[str, Any]]:
    """The data part that rows come from, with its parameters; none for rows that were made during a run."""
    if data.origin is None:
        return "", {}
    source = data.origin[0]
    part = catalog().get("data", str(source["data"]))
    return part.name, part.with_defaults({k: v for k, v in source.items() if k in part.parameters})


def _biography_words(options: Mapping[str, Any]) -> list[str]:
    made = SyntheticBiographies(**options)
    values = [f"value-{r}-{v}" for r in range(made.relations) for v in range(made.values)]
    names = [f"person-{i}" for i in range(made.names)]
    return ["", *SPECIAL[1:], *names, *(f"relation-{r}" for r in range(made.relations)), *values]


def _fact_words(options: Mapping[str, Any]) -> list[str]:
    return FactBank(**options).words


WORDS: Mapping[str, Callable[[Mapping[str, Any]], Sequence[str]]] = {
    "synthetic_biographies": _biography_words,
    "fact_bank": _fact_words,
}
"""By data part made of words of its own, the word that each id stands for; padding is an empty one."""


def _by_tokenizer(name: Any) -> Reader | None:
    """The reader of a tokenizer by name; None without one, or where it cannot be had here."""
    if name == "characters":
        pieces = tokenizer("characters", lower=False).pieces()
        return lambda ids: "".join(pieces[i] for i in ids.tolist() if 0 < i < len(pieces))
    if not isinstance(name, str) or name == "byte_pairs":  # made from a run's own text
        return None
    try:
        from kdrun.models.sentences import model_folder

        inner = pretrained_tokenizer(name, extra="llm", folder=model_folder(name))
    except (ImportError, DataError, InputError):
        return None
    return lambda ids: str(inner.decode([i for i in ids.tolist() if i >= 0], skip_special_tokens=True))
