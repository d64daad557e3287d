"""Text with named entities: sentences of drawn word vectors. CoNLL files are read in ``data.conll``, with the same columns.

Every row has ``tokens`` [T, ...], ``first`` [T] (bool: where a word begins) and ``tags`` [T] (int64) by word: 0 outside,
``2c - 1`` and ``2c`` for the first and further words of a mention of type c, -100 behind the last word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, Unsigned

__all__ = ["PADDING", "Lexicon", "ToyTwoDomainNer"]

PADDING = -100
"""The tag behind the last word, which cross-entropy leaves out."""

ORDINARY = 8
"""Classes of ordinary words."""


class Lexicon:
    """Concepts with word vectors, and sentences of them: ordinary words by a class bigram grammar, mentions between.

    ``centres`` [types, dim] are those of the entity types, each with ``entities`` concepts around it; ordinary classes have
    ``words`` concepts each. A vector is the centre plus ``noise`` times a normal draw. Concept numbers run through the
    types and then through the ordinary classes.
    """

    def __init__(
        self, rng: np.random.Generator, centres: np.ndarray, *, entities: int, words: int, noise: float
    ) -> None:
        self.types, self.dim = centres.shape
        self.entities, self.words = entities, words
        ordinary = rng.standard_normal((ORDINARY, self.dim))
        spread = np.concatenate([centres.repeat(entities, 0), ordinary.repeat(words, 0)])
        self.vectors = (spread + noise * rng.standard_normal(spread.shape)).astype(np.float32)
        self.follows = rng.dirichlet(np.full(ORDINARY, 0.5), size=ORDINARY).cumsum(1)

    def ordinary(self, rng: np.random.Generator, kind: int) -> int:
        """A concept of an ordinary class."""
        return self.types * self.entities + kind * self.words + int(rng.integers(self.words))

    def mention(self, rng: np.random.Generator, kind: int, known: int) -> list[int]:
        """One to three concepts of a type, of its first ``known`` ones."""
        return [kind * self.entities + int(i) for i in rng.integers(known, size=rng.integers(1, 4))]

    def sentence(self, rng: np.random.Generator, units: Sequence[_Unit], length: int) -> _Sentence:
        """Units in this order at random places among ordinary words; those that do not fit in are left out."""
        kept: list[_Unit] = []
        for unit in units:
            if len(unit) + sum(len(u) for u in kept) <= length:
                kept.append(unit)
        free = length - sum(len(u) for u in kept)
        places = np.sort(rng.integers(free + 1, size=len(kept)))
        result, kind, done = _Sentence(), int(rng.integers(ORDINARY)), 0
        for place, unit in [*zip(places.tolist(), kept, strict=True), (free, _Unit())]:
            for _ in range(place - done):
                result.add([self.ordinary(rng, kind)], None)
                kind = min(int(np.searchsorted(self.follows[kind], rng.random())), ORDINARY - 1)
            done = place
            result.add(unit.before, None)
            result.add(unit.words, unit.kind)
            result.add(unit.after, None)
        return result


@dataclass(frozen=True)
class _Unit:
    """A mention with the trigger words around it."""

    words: Sequence[int] = ()
    kind: int | None = None
    before: Sequence[int] = ()
    after: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.words) + len(self.before) + len(self.after)


@dataclass
class _Sentence:
    """Concepts, and at each the type of the mention that it is in (or None) and whether it is the first."""

    concepts: list[int] = field(default_factory=list)
    kinds: list[int | None] = field(default_factory=list)
    begins: list[bool] = field(default_factory=list)

    def add(self, words: Sequence[int], kind: int | None) -> None:
        self.concepts += words
        self.kinds += [kind] * len(words)
        self.begins += [kind is not None and i == 0 for i in range(len(words))]

    def tags(self, types: Mapping[int, int]) -> list[int]:
        """BIO numbers for the types that are keys, numbered by their values from 1 on."""
        return [
            0 if kind not in types or kind is None else 2 * types[kind] - int(begin)
            for kind, begin in zip(self.kinds, self.begins, strict=True)
        ]


def _padded(rows: Iterable[Sequence[int]], length: int, fill: int) -> Tensor:
    rows = list(rows)
    table = torch.full((len(rows), length), fill, dtype=torch.int64)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.tensor(row[:length], dtype=torch.int64)
    return table


@data(name="toy_two_domain_ner", fields=("source", "target", "valid", "test", "events"))
class ToyTwoDomainNer:
    """Sentences of word vectors with entities of two domains that look alike.

    Four source types and three target types, each with ``entities`` concepts, and eight classes of ordinary words with
    ``words`` concepts. The centre of target type j is ``likeness`` l times that of source type j plus √(1 - l²) times a direction
    of its own; all words are ``noise`` away from their centres. Source sentences (``source``) have up to three source
    mentions, 1.5 in the mean, in ``tags``. Target sentences (``target``, ``valid``, ``test``) have up to three target
    mentions, 1.0 in the mean, in ``tags``, and up to three source mentions, 1.2 in the mean, which ``tags`` holds for
    outside and ``source_tags`` names. A mention follows a trigger word with probability ``triggered``, of its type's
    class, which for a target type is half of the time that of the source type it resembles. A third of each type's
    concepts occur in ``test`` only.

    Columns, of T = ``longest`` words at most and ``shortest`` at least: ``tokens`` [T, vector], 0 behind the last;
    ``first`` [T] (bool), which are words; ``tags`` and ``source_tags`` [T] (int64), 0 outside, 2c - 1 and 2c for the
    first and further words of type c, -100 behind the last; ``entity`` [T], the source mention that begins at a word,
    by its first concept; else -1.

    ``events`` has a row an event of a source entity: ``entity`` (int64) and ``vector`` [3 · vector], [type's vector;
    role's vector; partner's word vector] plus ``event_noise``. An entity has one of two roles, whatever its type, and
    one to three events; one in ten has none. ``seed`` draws it all: words, grammar and sentences. Raises ``DataError``
    if sentences are too short for a mention.

    >>> splits = data.toy_two_domain_ner(source=5, target=5, valid=2, test=2, entities=6, words=4).load()
    >>> splits["target"].rows()["tokens"].shape, splits["target"].info.classes
    (torch.Size([5, 18, 32]), 7)
    """

    SOURCE, TARGET, ROLES = 4, 3, 2

    def __init__(
        self,
        *,
        source: Count = 2000,
        target: Count = 2000,
        valid: Count = 60,
        test: Count = 600,
        shortest: Count = 10,
        longest: Count = 18,
        vector: Count = 32,
        entities: Count = 60,
        words: Count = 70,
        noise: NonNegative = 0.8,
        likeness: Fraction = 0.6,
        event_noise: NonNegative = 0.3,
        triggered: Fraction = 0.7,
        seed: Unsigned = 0,
    ) -> None:
        if not 4 <= shortest <= longest:
            raise DataError("a sentence has 4 words at least, for a trigger and a mention", key="data.shortest")
        self.sizes = {"source": source, "target": target, "valid": valid, "test": test}
        self.shortest, self.longest, self.dim = shortest, longest, vector
        self.entities, self.words, self.noise = entities, words, noise
        self.likeness, self.event_noise, self.triggered, self.seed = likeness, event_noise, triggered, seed

    def info(self) -> dict[str, DataInfo]:
        row = Column((self.longest,), torch.int64)
        columns = {
            "tokens": Column((self.longest, self.dim)),
            "first": Column((self.longest,), torch.bool),
            "tags": row,
            "entity": row,
            "source_tags": row,
        }
        extra = {"vector": self.dim, "owners": self.SOURCE * self.entities}
        tags = {"source": 2 * self.SOURCE + 1}
        infos = {s: DataInfo(columns, tags.get(s, 2 * self.TARGET + 1), n, extra=extra) for s, n in self.sizes.items()}
        events = {"vector": Column((3 * self.dim,)), "entity": Column((), torch.int64)}
        return {**infos, "events": DataInfo(events, extra=extra)}

    def load(self) -> dict[str, MemoryDataset]:
        rng = np.random.default_rng(self.seed)
        own = rng.standard_normal((self.SOURCE, self.dim))
        fresh = rng.standard_normal((self.TARGET, self.dim))
        near = self.likeness * own[: self.TARGET] + math.sqrt(1 - self.likeness**2) * fresh
        lexicon = Lexicon(rng, np.concatenate([own, near]), entities=self.entities, words=self.words, noise=self.noise)
        events = self._events(rng, lexicon)
        sets = {split: self._split(rng, lexicon, split, count) for split, count in self.sizes.items()}
        return {**sets, "events": events}

    def _split(self, rng: np.random.Generator, lexicon: Lexicon, split: str, count: int) -> MemoryDataset:
        known = self.entities if split == "test" else max(self.entities * 2 // 3, 1)
        sentences = []
        for _ in range(count):
            foreign = int(rng.binomial(3, 0.5 if split == "source" else 0.4))
            native = 0 if split == "source" else int(rng.binomial(3, 1 / 3))
            kinds = [*rng.integers(self.SOURCE, size=foreign), *(self.SOURCE + rng.integers(self.TARGET, size=native))]
            units = [self._unit(rng, lexicon, int(kind), known) for kind in rng.permutation(kinds)]
            length = int(rng.integers(self.shortest, self.longest + 1))
            sentences.append(lexicon.sentence(rng, units, length))
        source = {i: i + 1 for i in range(self.SOURCE)}
        target = {self.SOURCE + i: i + 1 for i in range(self.TARGET)}
        place = np.array([*range(len(lexicon.vectors)), 0])
        concepts = _padded([s.concepts for s in sentences], self.longest, -1)
        real = concepts >= 0
        vectors = torch.from_numpy(lexicon.vectors)[torch.from_numpy(place)[concepts]]
        begins = [
            [c if b and k in source else -1 for c, k, b in zip(s.concepts, s.kinds, s.begins, strict=True)]
            for s in sentences
        ]
        columns = {
            "tokens": torch.where(real.unsqueeze(-1), vectors, 0.0),
            "first": real,
            "tags": _padded(
                [s.tags(source if split == "source" else target) for s in sentences], self.longest, PADDING
            ),
            "entity": _padded(begins, self.longest, -1),
            "source_tags": _padded([s.tags(source) for s in sentences], self.longest, PADDING),
        }
        return MemoryDataset(columns, self.info()[split])

    def _unit(self, rng: np.random.Generator, lexicon: Lexicon, kind: int, known: int) -> _Unit:
        trigger = kind
        if kind >= self.SOURCE and rng.random() < 0.5:
            trigger = kind - self.SOURCE
        before = [lexicon.ordinary(rng, trigger)] if rng.random() < self.triggered else []
        return _Unit(lexicon.mention(rng, kind, known), kind, before)

    def _events(self, rng: np.random.Generator, lexicon: Lexicon) -> MemoryDataset:
        types = rng.standard_normal((self.SOURCE, self.dim))
        roles = rng.standard_normal((self.ROLES, self.dim))
        vectors, owners = [], []
        for entity in range(self.SOURCE * self.entities):
            role, count = int(rng.integers(self.ROLES)), int(rng.integers(1, 4))
            if rng.random() < 0.1:
                continue
            for partner in rng.integers(self.SOURCE * self.entities, size=count):
                parts = [types[entity // self.entities], roles[role], lexicon.vectors[partner]]
                vectors.append(np.concatenate(parts) + self.event_noise * rng.standard_normal(3 * self.dim))
                owners.append(entity)
        columns = {"vector": torch.tensor(np.array(vectors), dtype=torch.float32), "entity": torch.tensor(owners)}
        return MemoryDataset(columns, self.info()["events"])
