"""A made-up world of facts in words of its own, and text about it: what a language model knows can be counted exactly."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["FactBank"]

PADDING, STOP = 0, 1
"""Token ids of padding and of the full stop, which ends every line."""

IGNORED = -100
"""The target at padding, which cross-entropy leaves out."""

TEMPLATES = (
    "{name} has the {attribute} {value} .",
    "the {attribute} of {name} is {value} .",
    "as {attribute} {name} got {value} .",
    "{name} and {attribute} make {value} .",
)

Piece = int | str
"""A token id, or the name of something that differs by row: ``{name}``, ``{value}`` …"""


@data(name="fact_bank", fields=("train", "statements"), items={"tasks": "attributes"})
class FactBank:
    """Entities with an attribute or more each, stated in short lines of words; one token a word, all drawn by ``seed``.

    Names are ``name_tokens`` of ``name_symbols`` words and differ between ``entities``; an attribute has one of
    ``values`` values (a number, or one for each of ``attributes``), of ``value_tokens`` words of ``value_symbols`` each
    (one word of its own by default).

    ``train`` has ``lines`` rows of general text: a share ``cued`` of them is ``cue NAME : x .`` with any of ``cues``
    words, which says nothing about x: one of the attributes or one of ``fillers`` words, all alike; the others state a
    fact by one of ``templates``. Columns are ``tokens`` and ``target`` [length] (int64), padded on the right with
    target -100, and ``entity``.

    ``statements`` has a prompt for each entity, attribute and template: ``tokens`` [length], padded on the left,
    ``mask`` [length] (bool), the ``answer`` (value and full stop, padded by -100) and ``entity``, ``attribute``.

    ``tasks`` are one for each attribute: after the task's own cue word, that attribute follows. Its ``train`` are lines
    of ``train_entities`` entities, its ``valid`` and ``test`` prompts of ``valid_entities`` others and of all that are
    left. Raises ``DataError`` where words, values or entities are too few, or a template has another form.

    >>> splits = data.fact_bank(entities=20, train_entities=8, valid_entities=4, lines=50).load()
    >>> len(splits["train"]), len(splits["statements"]), len(splits["tasks"]), len(splits["tasks"][0]["test"])
    (50, 160, 2, 8)
    """

    def __init__(
        self,
        *,
        entities: Count = 400,
        name_tokens: Count = 2,
        name_symbols: Count = 32,
        attributes: list[str] = ("job", "city"),  # type: ignore[assignment]
        values: Count | list[Count] = 24,
        value_tokens: Count = 1,
        value_symbols: Count | None = None,
        cues: Count = 5,
        fillers: Count = 5,
        cued: Fraction = 0.6,
        templates: list[str] | None = None,
        lines: Count = 128_000,
        train_entities: Count = 100,
        valid_entities: Unsigned = 50,
        seed: Unsigned = 0,
    ) -> None:
        self.entities, self.attributes = entities, list(attributes)
        self.templates = list(TEMPLATES if templates is None else templates)
        self.values = list(values) if isinstance(values, list) else [values] * len(self.attributes)
        self.name_tokens, self.value_tokens, self.value_symbols = name_tokens, value_tokens, value_symbols
        self.cues, self.fillers, self.cued, self.lines, self.seed = cues, fillers, cued, lines, seed
        self.parts = (train_entities, valid_entities, entities - train_entities - valid_entities)
        self._refuse_too_few(name_symbols)
        self._refuse_templates()
        self.words = self._vocabulary(name_symbols)
        self.ids = {word: i for i, word in enumerate(self.words)}

    def _refuse_too_few(self, name_symbols: int) -> None:
        """Raise ``DataError`` where there are too few words, values or entities to tell things apart."""
        attributes, entities, symbols = len(self.attributes), self.entities, self.value_symbols
        if not attributes or len(self.values) != attributes:
            raise DataError(f"{attributes} attributes need as many numbers of values", key="data.values")
        if attributes > self.cues:
            raise DataError(f"{attributes} attributes need as many cue words, got {self.cues}", key="data.cues")
        if entities > name_symbols**self.name_tokens:
            raise DataError(
                f"{name_symbols}^{self.name_tokens} names are too few for {entities} entities", key="data.name_symbols"
            )
        if self.parts[2] < 1:
            raise DataError(f"{entities} entities leave none to test on", key="data.entities")
        if self.value_tokens > 1 and symbols is None:
            raise DataError("values of several words need their number of symbols", key="data.value_symbols")
        if symbols is not None and max(self.values) > symbols**self.value_tokens:
            raise DataError(f"{symbols}^{self.value_tokens} values are too few", key="data.value_symbols")

    def _refuse_templates(self) -> None:
        wrong = [t for t in self.templates if t.split().count("{name}") != 1 or not t.endswith(" {value} .")]
        if wrong or not self.templates:
            raise DataError(
                f"a template has one {{name}} and ends in '{{value}} .', not: {(wrong or ['none given'])[0]!r}",
                key="data.templates",
            )

    def _vocabulary(self, name_symbols: int) -> list[str]:
        plain = [w for t in self.templates for w in t.split() if w[0] != "{"]
        if self.value_symbols is None:
            values = [f"{a}-{i}" for a, n in zip(self.attributes, self.values, strict=True) for i in range(n)]
        else:
            values = [f"value-{i}" for i in range(self.value_symbols)]
        words = [
            *("", ".", ":"),
            *(f"cue-{i}" for i in range(self.cues)),
            *(f"filler-{i}" for i in range(self.fillers)),
            *(f"name-{i}" for i in range(name_symbols)),
            *values,
            *self.attributes,
            *plain,
        ]
        return list(dict.fromkeys(words))

    @functools.cached_property
    def facts(self) -> tuple[Tensor, list[Tensor]]:
        """Token ids of the names [entities, name_tokens], and of each attribute's values [entities, value_tokens]."""
        generator = torch.Generator().manual_seed(self.seed)
        symbols = [i for i, word in enumerate(self.words) if word.startswith("name-")]
        chosen = torch.randperm(len(symbols) ** self.name_tokens, generator=generator)[: self.entities]
        names = torch.tensor(symbols)[_digits(chosen, len(symbols), self.name_tokens)]
        values = []
        for attribute, count in zip(self.attributes, self.values, strict=True):
            own = torch.randint(count, (self.entities,), generator=generator)
            if self.value_symbols is None:
                values.append(own[:, None] + self.ids[f"{attribute}-0"])
            else:  # this attribute's values among all sequences of symbols
                kinds = torch.randperm(self.value_symbols**self.value_tokens, generator=generator)[:count]
                values.append(_digits(kinds[own], self.value_symbols, self.value_tokens) + self.ids["value-0"])
        return names, values

    def _pieces(self, template: str, attribute: int) -> list[Piece]:
        own = template.replace("{attribute}", self.attributes[attribute])
        return [word if word[0] == "{" else self.ids[word] for word in own.split()]

    def _sequences(self, pieces: Sequence[Piece], **columns: Tensor) -> Tensor:
        """Rows of token ids: each piece is a constant, or columns [rows, count] by their name."""
        rows = len(next(iter(columns.values())))
        return torch.cat([columns[p[1:-1]] if isinstance(p, str) else torch.full((rows, 1), p) for p in pieces], dim=1)

    @property
    def _length(self) -> int:
        """Tokens of the longest line."""
        own = [len(t.split()) + self.name_tokens + self.value_tokens - 2 for t in self.templates]
        return max(*own, self.name_tokens + self.value_tokens + 3)

    def info(self) -> dict[str, Any]:
        extra = {"vocabulary": len(self.words), "padding": PADDING, "stop": STOP}
        one, line = Column((), torch.int64), Column((self._length - 1,), torch.int64)

        def lines(rows: int) -> DataInfo:
            return DataInfo({"tokens": line, "target": line, "entity": one}, len(self.words), rows, extra=extra)

        def prompts(length: int, rows: int) -> DataInfo:
            tokens, mask = Column((length,), torch.int64), Column((length,), torch.bool)
            columns = {"tokens": tokens, "mask": mask, "answer": Column((self.value_tokens + 1,), torch.int64)}
            return DataInfo({**columns, "entity": one, "attribute": one}, len(self.words), rows, extra=extra)

        train, valid, test = self.parts
        task = {
            "train": lines(train),
            **{s: prompts(self.name_tokens + 2, n) for s, n in (("valid", valid), ("test", test))},
        }
        longest = max(len(t.split()) for t in self.templates) + self.name_tokens - 3
        asked = self.entities * len(self.attributes) * len(self.templates)
        return {
            "train": lines(self.lines),
            "statements": prompts(longest, asked),
            "tasks": [dict(task) for _ in self.attributes],
        }

    def load(self) -> dict[str, Any]:
        known = self.info()
        generator = torch.Generator().manual_seed(self.seed + 1_000_003)
        everyone = torch.arange(self.entities)
        stated = [
            self._prompts(self._pieces(template, attribute)[:-2], everyone, attribute, known["statements"])
            for attribute, template in itertools.product(range(len(self.attributes)), self.templates)
        ]
        statements = {name: torch.cat([part[name] for part in stated]) for name in stated[0]}
        order = torch.randperm(self.entities, generator=generator)
        parts = order.split(list(self.parts))
        return {
            "train": self._general(known["train"], generator),
            "statements": MemoryDataset(statements, known["statements"]),
            "tasks": [self._task(i, parts, info) for i, info in enumerate(known["tasks"])],
        }

    def _general(self, info: DataInfo, generator: torch.Generator) -> MemoryDataset:
        names, values = self.facts
        cued = torch.rand(self.lines, generator=generator) < self.cued
        kind = torch.randint(len(self.attributes) + 1, (self.lines,), generator=generator)
        stated = torch.randint(len(self.attributes), (self.lines,), generator=generator)
        template = torch.randint(len(self.templates), (self.lines,), generator=generator)
        entity = torch.randint(self.entities, (self.lines,), generator=generator)
        cue = torch.randint(self.cues, (self.lines, 1), generator=generator) + self.ids["cue-0"]
        filler = torch.randint(self.fillers, (self.lines, 1), generator=generator) + self.ids["filler-0"]
        columns = {"tokens": torch.zeros(self.lines, self._length - 1, dtype=torch.int64)}
        columns["target"], columns["entity"] = torch.full_like(columns["tokens"], IGNORED), entity

        def fill(rows: Tensor, pieces: Sequence[Piece], value: Tensor) -> None:
            found = self._sequences(pieces, cue=cue[rows], name=names[entity[rows]], value=value)
            for column, filled in zip(("tokens", "target"), _shifted(found, self._length), strict=True):
                columns[column][rows] = filled

        line: list[Piece] = ["{cue}", "{name}", self.ids[":"], "{value}", STOP]
        for attribute in range(len(self.attributes)):
            rows = (cued & (kind == attribute)).nonzero()[:, 0]
            fill(rows, line, values[attribute][entity[rows]])
            for number, text in enumerate(self.templates):
                rows = (~cued & (stated == attribute) & (template == number)).nonzero()[:, 0]
                fill(rows, self._pieces(text, attribute), values[attribute][entity[rows]])
        rows = (cued & (kind == len(self.attributes))).nonzero()[:, 0]
        fill(rows, line, filler[rows])
        return MemoryDataset(columns, info)

    def _task(self, number: int, parts: Sequence[Tensor], info: Mapping[str, DataInfo]) -> dict[str, MemoryDataset]:
        """Lines and prompts of one attribute behind its own cue word."""
        names, values = self.facts
        prompt: list[Piece] = [self.ids["cue-0"] + number, "{name}", self.ids[":"]]
        train, *asked = parts
        found = self._sequences([*prompt, "{value}", STOP], name=names[train], value=values[number][train])
        tokens, target = _shifted(found, self._length)
        splits = {"train": MemoryDataset({"tokens": tokens, "target": target, "entity": train}, info["train"])}
        for split, rows in zip(("valid", "test"), asked, strict=True):
            splits[split] = MemoryDataset(self._prompts(prompt, rows, number, info[split]), info[split])
        return splits

    def _prompts(self, pieces: Sequence[Piece], entity: Tensor, attribute: int, info: DataInfo) -> dict[str, Tensor]:
        """The beginnings of lines up to the value, padded on the left to the length of ``info``."""
        names, values = self.facts
        found = self._sequences(pieces, name=names[entity])
        tokens = torch.full((len(entity), *info.columns["tokens"].shape), PADDING)
        tokens[:, tokens.shape[1] - found.shape[1] :] = found
        stop = torch.full((len(entity), 1), STOP)
        answer = torch.cat([values[attribute][entity], stop], dim=1)
        return {
            "tokens": tokens,
            "mask": tokens != PADDING,
            "answer": answer,
            "entity": entity,
            "attribute": torch.full_like(entity, attribute),
        }


def _digits(numbers: Tensor, base: int, count: int) -> Tensor:
    """Digits [rows, count] of numbers [rows]."""
    return numbers[:, None] // base ** torch.arange(count - 1, -1, -1) % base


def _shifted(sequence: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets one ahead, [rows, length - 1], of sequences [rows, up to length]."""
    short = length - sequence.shape[1]
    tokens = torch.nn.functional.pad(sequence[:, :-1], (0, short), value=PADDING)
    return tokens, torch.nn.functional.pad(sequence[:, 1:], (0, short), value=IGNORED)
