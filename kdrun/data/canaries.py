"""Running text with canaries: inserted secrets by which memorisation is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.text import SPLITS, Segment, TextCorpus
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Unsigned

__all__ = ["CanaryCorpus"]

NAMES = (
    "anna", "boris", "carla", "dmitri", "elena", "farid", "greta", "hiro", "ines", "jamal",
    "karin", "luis", "maya", "nils", "olga", "pavel", "quentin", "rosa", "sven", "tara",
    "ulrik", "vera", "wanda", "xenia", "yusuf", "zoe", "amir", "bruno", "chen", "dana",
    "emil", "fatou", "gustav", "hana", "ivan", "jonas", "klara", "leila", "marek", "nadia",
)  # fmt: skip


@data(name="canary_corpus", fields=("train", "valid", "test", "clean", "other", "candidates"), fingerprint=True)
class CanaryCorpus(TextCorpus):
    """Text with canaries, sentences with a random secret that stand in it several times (Carlini et al., 2019).

    The text, its tokens and its splits are those of ``text_corpus``, whose parameters come first. Canary i of
    ``canaries`` is template ``i mod templates`` with the i-th of ``names`` for ``{name}`` and ``secret_length`` letters
    of ``alphabet``, drawn uniformly by ``seed`` and joined by ``separator``, for ``{secret}``; it stands ``repeats``
    times in ``train``, as a line at random places. ``clean`` is that text without canaries; ``other`` has other secrets
    at the same places, a new one each time. ``valid`` and ``test`` have none. In ``secret``, 1 marks targets that are
    part of a secret.

    ``candidates`` has a row for each canary (``canary``, int64) and each possible secret, or ``max_candidates`` of
    them; ``inserted`` (int64) is 1 at the true one. Raises ``DataError`` if the candidates of a canary differ in their
    number of tokens, a template has not one ``{secret}``, or names are too few.

    >>> short = {"train_characters": 5000, "valid_characters": 500, "test_characters": 500}
    >>> splits = data.canary_corpus(canaries=3, secret_length=2, **short).load()
    >>> len(splits["candidates"]), int(splits["candidates"].rows()["inserted"].sum())
    (300, 3)
    """

    def __init__(
        self,
        *,
        canaries: Count = 10,
        repeats: Count = 40,
        templates: list[str] = ("the access code of {name} is {secret}",),  # type: ignore[assignment]
        names: list[str] | None = None,
        alphabet: str = "0123456789",
        secret_length: Count = 4,
        separator: str = "",
        max_candidates: Count | None = None,
        seed: Unsigned = 0,
        **text: Any,
    ) -> None:
        super().__init__(**text)
        names = list(NAMES) if names is None else names
        if canaries > len(names):
            raise DataError(f"{canaries} canaries need as many names, got {len(names)}", key="data.names")
        wrong = [t for t in templates if t.count("{secret}") != 1]
        if wrong or not templates:
            raise DataError(
                f"a template has one {{secret}}: {wrong[0] if wrong else 'none given'}", key="data.templates"
            )
        self.sentences = [templates[i % len(templates)].replace("{name}", names[i]) for i in range(canaries)]
        self.alphabet, self.secret_length, self.separator, self.repeats = alphabet, secret_length, separator, repeats
        self.space = len(alphabet) ** secret_length
        self.max_candidates, self.seed = min(max_candidates or self.space, self.space), seed

    def info(self) -> dict[str, DataInfo]:
        one = Column((), torch.int64)
        rows = self._info(self._longest(), canary=one, inserted=one)
        return {**dict.fromkeys((*SPLITS, "clean", "other"), self._info(self.block)), "candidates": rows}

    def load(self) -> dict[str, MemoryDataset]:
        texts = self._texts()
        generator = torch.Generator().manual_seed(self.seed)
        true = torch.randint(self.space, (len(self.sentences),), generator=generator)
        lines = texts["train"].split("\n")
        count = len(self.sentences) * self.repeats
        which = torch.arange(count) % len(self.sentences)
        places = torch.randint(len(lines) + 1, (count,), generator=generator)
        shift = torch.randint(max(self.space - 1, 1), (count,), generator=generator) + 1
        order = places.argsort(stable=True)
        places, which, shift = places[order], which[order], shift[order]
        splits = {split: self._packed([(texts[split], False)]) for split in ("valid", "test")}
        splits["clean"] = self._packed([(texts["train"], False)])
        for split, secrets in (("train", true[which]), ("other", (true[which] + shift) % self.space)):
            splits[split] = self._packed(self._woven(lines, places.tolist(), which.tolist(), secrets.tolist()))
        splits["candidates"] = self._candidates(true, generator)
        return splits

    def secret(self, number: int) -> str:
        """The possible secret of this number, from 0 to ``alphabet ** secret_length - 1``."""
        letters = []
        for _ in range(self.secret_length):
            number, place = divmod(number, len(self.alphabet))
            letters.append(self.alphabet[place])
        return self.separator.join(reversed(letters))

    def _woven(self, lines: list[str], places: list[int], which: list[int], secrets: list[int]) -> Iterator[Segment]:
        """The lines, with canary ``which[i]`` as a line of its own before line ``places[i]`` (in ascending order)."""
        start = 0
        for place, canary, secret in zip(places, which, secrets, strict=True):
            before, after = self.sentences[canary].split("{secret}")
            yield "".join(f"{line}\n" for line in lines[start:place]), False
            yield before, False
            yield self.secret(secret), True
            yield f"{after}\n", False
            start = place
        yield "\n".join(lines[start:]), False

    def _longest(self) -> int:
        """Tokens that a candidate has at most: a token is a character or more."""
        longest = max(len(s.split("{secret}")[0]) for s in self.sentences)
        return longest + self.secret_length + len(self.separator) * (self.secret_length - 1)

    def _candidates(self, true: Tensor, generator: torch.Generator) -> MemoryDataset:
        encoder, length = self._encoder(), self._longest()
        rows: list[list[int]] = []
        marks: list[list[int]] = []
        inserted: list[int] = []
        for sentence, own in zip(self.sentences, true.tolist(), strict=True):
            # A line break stands before a canary in the text, too.
            prefix = encoder.encode("\n") + encoder.encode(sentence.split("{secret}")[0])
            others = torch.randperm(self.space, generator=generator)
            chosen = [own, *others[others != own][: self.max_candidates - 1].tolist()]
            secrets = [encoder.encode(self.secret(number)) for number in chosen]
            if len({len(secret) for secret in secrets}) > 1:
                raise DataError(
                    "the candidates of a canary differ in their number of tokens: set a separator", key="data.separator"
                )
            spare = [0] * (length + 1 - len(prefix) - len(secrets[0]))
            rows += [prefix + secret + spare for secret in secrets]
            marks += [[0] * (len(prefix) - 1) + [1] * len(secrets[0]) + spare] * len(secrets)
            inserted += [1] + [0] * (len(secrets) - 1)
        stream = torch.tensor(rows)
        canary = torch.arange(len(self.sentences)).repeat_interleave(self.max_candidates)
        columns = {"tokens": stream[:, :-1], "target": stream[:, 1:], "secret": torch.tensor(marks)}
        return MemoryDataset(
            {**columns, "canary": canary, "inserted": torch.tensor(inserted)}, self.info()["candidates"]
        )
