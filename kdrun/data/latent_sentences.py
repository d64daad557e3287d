"""Sentences whose words hint at what they are about and how they are said: many related tasks of classification over one vocabulary."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import DataError, nearest
from kdrun.registry import data
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["LatentAttributeText"]

LATENTS = {"topic": 8, "tone": 3, "tense": 2, "person": 3, "style": 2}
"""What a sentence has, and how many values of it there are."""

SLOTS = {"topic": 4, "tone": 2, "tense": 2, "person": 2, "style": 2}
"""How many of a sentence's words speak of it."""

DOMAINS = 2
PADDING, MASK = 0, 1
SPECIAL = 2
OWN = 12
COMMON = 46
TASK = re.compile(r"(?P<latents>\w+(?:\+\w+)*)(?:/(?P<merged>\d+))?(?:@(?P<domain>\d+))?")


@data(name="latent_attribute_text", fields=("text",), items={"sources": "sources", "targets": "targets"})
class LatentAttributeText:
    """Sentences of 12 words from a vocabulary of 300, each drawn with a topic (of 8), tone (3), tense (2), person (3) and style (2).

    Four words speak of the topic and two of each of the others, in random order: with the probability ``clear`` such a word is one of the 12
    that its value has for itself, otherwise one of 46 that say nothing. Words of tone are others in the domains 0 and 1; the rest is common.

    ``text`` has ``text_rows`` sentences of both domains, without labels. ``sources`` and ``targets`` are tasks, written ``LATENT``,
    ``LATENT+LATENT`` (both together), ``…/K`` (values merged into K classes) and ``…@1`` (in domain 1; 0 by default):
    ``sources.0.train`` … have ``source_rows`` rows, those of targets ``target_rows``; ``valid`` and ``test`` have ``valid_rows`` and
    ``test_rows`` of all tasks. Everything is drawn by ``seed``. Columns: ``tokens`` [12] (int64; 0, which is padding, and 1, which
    is a mask, do not occur) and, of tasks, ``label``. Raises ``DataError`` for a task that is not written so.

    >>> splits = data.latent_attribute_text(sources=["topic"], targets=["tone@1", "tense+style"], test_rows=30).load()
    >>> splits["targets"][1]["test"].rows()["tokens"].shape, splits["targets"][1]["test"].rows()["label"].unique()
    (torch.Size([30, 12]), tensor([0, 1, 2, 3]))
    """

    def __init__(
        self,
        *,
        sources: list[str] = ("topic", "tone", "tense", "person", "style"),  # type: ignore[assignment]
        targets: list[str] = ("tone@1", "topic/4", "tense+style"),  # type: ignore[assignment]
        text_rows: Count = 20_000,
        source_rows: Count = 3000,
        target_rows: Count = 64,
        valid_rows: Count = 500,
        test_rows: Count = 2000,
        clear: Fraction = 0.6,
        seed: Unsigned = 0,
    ) -> None:
        self.tasks = {"sources": list(sources), "targets": list(targets)}
        self.text_rows, self.clear, self.seed = text_rows, clear, seed
        self.rows = {
            name: {"train": rows, "valid": valid_rows, "test": test_rows}
            for name, rows in (("sources", source_rows), ("targets", target_rows))
        }
        self.vocabulary = SPECIAL + COMMON + OWN * (sum(LATENTS.values()) + (DOMAINS - 1) * LATENTS["tone"])
        self.asked = {
            name: [_task(text, f"data.{name}.{i}") for i, text in enumerate(t)] for name, t in self.tasks.items()
        }

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = {"text": self._info(None, self.text_rows)}
        for name, tasks in self.asked.items():
            found[name] = [
                {split: self._info(_classes(task), rows) for split, rows in self.rows[name].items()} for task in tasks
            ]
        return found

    def _info(self, classes: int | None, rows: int) -> DataInfo:
        columns = {"tokens": Column((sum(SLOTS.values()),), torch.int64)}
        columns |= {"label": Column((), torch.int64)} if classes else {}
        return DataInfo(columns, classes or self.vocabulary, rows, extra={"vocabulary": self.vocabulary})

    def load(self) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.seed)
        domain = torch.randint(DOMAINS, (self.text_rows,), generator=generator)
        tokens, _ = self._sentences(domain, generator)
        found: dict[str, Any] = {"text": MemoryDataset({"tokens": tokens}, self._info(None, self.text_rows))}
        for name, tasks in self.asked.items():
            found[name] = [
                {split: self._split(task, rows, generator) for split, rows in self.rows[name].items()} for task in tasks
            ]
        return found

    def _split(self, task: tuple[list[str], int | None, int], rows: int, generator: torch.Generator) -> MemoryDataset:
        latents, merged, domain = task
        tokens, values = self._sentences(torch.full((rows,), domain), generator)
        label = torch.zeros(rows, dtype=torch.int64)
        for latent in latents:
            label = label * LATENTS[latent] + values[latent]
        if merged is not None:
            label = label * merged // math.prod(LATENTS[latent] for latent in latents)
        return MemoryDataset({"tokens": tokens, "label": label}, self._info(_classes(task), rows))

    def _sentences(self, domain: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Tokens [rows, 12] of sentences in these domains [rows], and what they were drawn with."""
        rows, start = len(domain), SPECIAL + COMMON
        values, words = {}, []
        for latent, count in LATENTS.items():
            value = torch.randint(count, (rows,), generator=generator)
            spoken = value + count * domain if latent == "tone" else value
            own = torch.randint(OWN, (rows, SLOTS[latent]), generator=generator) + start + OWN * spoken[:, None]
            common = torch.randint(COMMON, own.shape, generator=generator) + SPECIAL
            told = torch.rand(own.shape, generator=generator) < self.clear
            values[latent] = value
            words.append(own.where(told, common))
            start += OWN * count * (DOMAINS if latent == "tone" else 1)
        tokens = torch.cat(words, 1)
        order = torch.rand(tokens.shape, generator=generator).argsort(1)
        return tokens.gather(1, order), values


def _task(text: str, key: str) -> tuple[list[str], int | None, int]:
    """Latents, the number of classes that their values are merged into, and the domain. Raises ``DataError``."""
    found = TASK.fullmatch(text)
    if found is None:
        raise DataError(f"a task is written like topic, tense+style, topic/4 or tone@1, got '{text}'", key=key)
    latents = found["latents"].split("+")
    for latent in latents:
        if latent not in LATENTS:
            raise DataError(
                f"a sentence has no '{latent}'{nearest(latent, LATENTS)}; it has: {', '.join(LATENTS)}", key=key
            )
    merged, domain = int(found["merged"]) if found["merged"] else None, int(found["domain"] or 0)
    if domain >= DOMAINS or (merged is not None and not 2 <= merged <= math.prod(LATENTS[x] for x in latents)):
        raise DataError(
            f"there are {DOMAINS} domains, from 0, and values are merged into 2 classes at least, got '{text}'", key=key
        )
    return latents, merged, domain


def _classes(task: tuple[list[str], int | None, int]) -> int:
    latents, merged, _ = task
    return merged or math.prod(LATENTS[latent] for latent in latents)
