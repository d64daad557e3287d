"""Questions and answers to be forgotten and kept by language models, in the files of the TOFU benchmark."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.text_reading import json_lines, word
from kdrun.data.tokenizers import Tokenizer, tokenizer
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead, PretrainedName, Unsigned

__all__ = ["Tofu"]

IGNORED = -100
UTILITY = ("retain_perturbed", "real_authors_perturbed", "world_facts_perturbed")


OPENED = {
    "benign": "retain",
    "open_forget": "forget",
    "distractors": "forget",
    "misled": "forget",
    "misled_retain": "retain",
}
"""Splits with statements before the question, and the split that they ask about."""


@data(
    name="tofu",
    fields=(
        "train",
        "retain",
        "forget",
        "fresh",
        "relabelled",
        "paraphrase",
        "benign",
        "open_forget",
        "distractors",
        "misled",
        "misled_retain",
        "forget_test",
        "utility",
    ),
    fingerprint=True,
)
class Tofu:
    """Biographies of invented authors as questions and answers, some of which are to be forgotten (Maini et al., 2024).

    ``root`` holds the benchmark's files, one JSON object a line: ``full.json``, ``retain99.json`` and ``forget01.json``
    (or 95 and 05, 90 and 10, by ``share`` in percent) with ``question`` and ``answer``, and, for the splits
    ``forget_test`` and ``utility``, ``forget01_perturbed.json``, ``retain_perturbed.json``,
    ``real_authors_perturbed.json`` (which is ``fresh``, too) and ``world_facts_perturbed.json`` with ``perturbed_answer`` (a list) and perhaps
    ``paraphrased_answer``. ``tokenizer`` is one of transformers, with ``vocabulary`` tokens; ``end`` is the id of its
    end of text. A prompt is ``template`` with the question in it. ``benign`` and ``open_forget`` ask about what stays and
    what goes after ``statements`` questions with their answers, a line each, one of them that which is asked; the others,
    and all of ``distractors``, are of retained authors, drawn by ``seed``. Before ``misled`` and ``misled_retain``, which ask the
    same two, one line gives a wrong answer to a question of those that go: the one asked, or any. In ``relabelled`` each question of those
    that go has the answer to another of them. With ``paraphrases``, ``paraphrase`` asks them as ``paraphrased_question`` in
    ``forget01_perturbed.json`` does.

    Columns (int64): ``tokens`` [block], the ``target`` after each that counts (answer and end; -100 elsewhere), the
    ``answer`` (without the end); in the last two splits ``right_tokens``, ``right_answer`` [block] of the paraphrase
    and ``wrong_tokens``, ``wrong_answer`` [wrong, block]; in ``utility`` the ``part``, 0 to 2. What is longer is cut.
    Raises ``DataError`` if a file is missing or a line lacks a key.

    >>> known = data.tofu(share=1, block=64, wrong=5).info()
    >>> known["forget_test"].columns["wrong_tokens"].shape
    (5, 64)
    """

    def __init__(
        self,
        *,
        root: PathToRead | None = None,
        share: Literal[1, 5, 10] = 5,
        tokenizer: PretrainedName = "microsoft/phi-1_5",
        vocabulary: Count = 51200,
        end: Unsigned = 50256,
        block: Count = 256,
        wrong: Count = 5,
        template: str = "Question: {question}\nAnswer: ",
        statements: Count = 3,
        paraphrases: bool = False,
        seed: Unsigned = 0,
    ) -> None:
        self.root = Path(root).expanduser() if root else None
        self.tokenizer, self.vocabulary, self.end, self.block, self.wrong = tokenizer, vocabulary, end, block, wrong
        self.template, self.statements, self.seed = template, statements, seed
        self.files = {
            "train": ("full",),
            "retain": (f"retain{100 - share}",),
            "forget": (f"forget{share:02d}",),
            "fresh": ("real_authors_perturbed",),
            "relabelled": (f"forget{share:02d}",),
            "forget_test": (f"forget{share:02d}_perturbed",),
            "utility": UTILITY,
        }
        if paraphrases:
            self.files["paraphrase"] = self.files["forget_test"]
        self.files |= {split: self.files[about] for split, about in OPENED.items()}
        self.sizes = {"train": 4000, "retain": 40 * (100 - share), "forget": 40 * share, "relabelled": 40 * share}
        self.sizes |= {split: self.sizes[about] for split, about in OPENED.items()}

    def info(self) -> dict[str, DataInfo]:
        row, many = Column((self.block,), torch.int64), Column((self.wrong, self.block), torch.int64)
        plain = {"tokens": row, "target": row, "answer": row}
        asked = {**plain, "right_tokens": row, "right_answer": row, "wrong_tokens": many, "wrong_answer": many}
        extra = {"vocabulary": self.vocabulary, "tokenizer": self.tokenizer, "lower": False}
        columns = {"forget_test": asked, "utility": {**asked, "part": Column((), torch.int64)}}
        return {
            split: DataInfo(columns.get(split, plain), self.vocabulary, self.sizes.get(split), extra=extra)
            for split in self.files
        }

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times of change."""
        paths = [self._path(name) for names in self.files.values() for name in names]
        return fingerprint_of(paths, self.root or Path())

    def load(self) -> dict[str, MemoryDataset]:
        encoder = tokenizer(self.tokenizer, lower=False)
        told = list(self._lines(self.files["retain"][0], lambda entry: entry["answer"]).values())
        lies = self._lines(self.files["forget_test"][0], lambda entry: entry["perturbed_answer"][0])
        return {
            split: self._split(split, names, encoder, told if split in OPENED else [], lies)
            for split, names in self.files.items()
        }

    def _path(self, name: str) -> Path:
        return (self.root or Path()) / f"{name}.json"

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self._path(name)
        if self.root is None or not path.is_file():
            raise DataError(
                f"there is no {path}: expected the files of locuslab/TOFU in the folder data.root=FOLDER",
                key="data.root",
            )
        return [entry for _, entry in json_lines(path, '{"question": "...", "answer": "..."}')]

    def _lines(self, name: str, answer: Callable[[dict[str, Any]], Any]) -> dict[str, str]:
        """The questions of a file, each with itself and an answer as a line."""
        found = {}
        for number, entry in enumerate(self._read(name)):
            with self._blamed(name, number):
                found[word(entry["question"])] = _line(entry, answer(entry))
        return found

    @contextlib.contextmanager
    def _blamed(self, name: str, number: int) -> Iterator[None]:
        """Says of which line something is wrong."""
        try:
            yield
        except KeyError as error:
            raise DataError(f"{self._path(name)}:{number + 1} lacks the key {error}") from None
        except (IndexError, TypeError, ValueError) as error:
            raise DataError(f"{self._path(name)}:{number + 1}: {error}") from None

    def _split(
        self, split: str, names: Sequence[str], encoder: Tokenizer, told: Sequence[str], lies: Mapping[str, str]
    ) -> MemoryDataset:
        info, chance = self.info()[split], random.Random(f"{self.seed} {split}")
        rows: dict[str, list[Tensor]] = {column: [] for column in info.columns}
        for part, name in enumerate(names):
            for number, entry in enumerate(self._answered(split, name, chance)):
                with self._blamed(name, number):
                    if split == "paraphrase":
                        entry = {**entry, "question": entry["paraphrased_question"]}
                    before = self._context(split, entry, told, lies, chance) if told else ""
                    for column, value in self._row(entry, encoder, before, asked="wrong_tokens" in rows).items():
                        rows[column].append(value)
                if "part" in rows:
                    rows["part"].append(torch.tensor(part))
        return MemoryDataset({column: torch.stack(values) for column, values in rows.items()}, info)

    def _answered(self, split: str, name: str, chance: random.Random) -> list[dict[str, Any]]:
        """The entries of a file; of ``relabelled``, with the answers dealt out so that none keeps its own."""
        entries = self._read(name)
        if split != "relabelled" or len(entries) < 2:
            return entries
        shift = chance.randrange(1, len(entries))
        others = [*entries[shift:], *entries[:shift]]
        return [{**entry, "answer": other.get("answer")} for entry, other in zip(entries, others, strict=True)]

    def _context(
        self, split: str, entry: dict[str, Any], told: Sequence[str], lies: Mapping[str, str], chance: random.Random
    ) -> str:
        """Lines of retained authors' facts, and among them what the split states."""
        own = _line(entry, entry["answer"])
        lines = [line for line in chance.sample(told, min(self.statements + 1, len(told))) if line != own]
        lines = lines[: self.statements]
        if split != "distractors":
            lie = lies.get(word(entry["question"])) or chance.choice(list(lies.values()))
            stated = lie if split.startswith("misled") else own
            lines = lines[: self.statements - 1]
            lines.insert(chance.randint(0, len(lines)), stated)
        return "".join(f"{line}\n" for line in lines)

    def _row(self, entry: dict[str, Any], encoder: Tokenizer, before: str, *, asked: bool) -> dict[str, Tensor]:
        question = before + self.template.replace("{question}", word(entry["question"]))
        tokens, target, answer = self._sequence(question, word(entry["answer"]), encoder)
        row = {"tokens": tokens, "target": target, "answer": answer}
        if not asked:
            return row
        others = [self._sequence(question, word(text), encoder) for text in entry["perturbed_answer"][: self.wrong]]
        if len(others) < self.wrong:
            raise DataError(f"a question has {len(others)} wrong answers, fewer than {self.wrong}", key="data.wrong")
        right = self._sequence(question, word(entry.get("paraphrased_answer", entry["answer"])), encoder)
        row |= {"right_tokens": right[0], "right_answer": right[2]}
        return row | {
            "wrong_tokens": torch.stack([t for t, _, _ in others]),
            "wrong_answer": torch.stack([a for _, _, a in others]),
        }

    def _sequence(self, question: str, answer: str, encoder: Tokenizer) -> tuple[Tensor, Tensor, Tensor]:
        before, after = encoder.encode(question), encoder.encode(answer)
        length = self.block + 1
        ids = torch.full((length,), self.end)
        words = torch.tensor([*before, *after, self.end])[:length]
        ids[: len(words)] = words
        place = torch.arange(length)
        ahead = ids.where((place >= len(before)) & (place < len(words)), IGNORED)
        plain = ahead.where(place < len(before) + len(after), IGNORED)
        return ids[:-1], ahead[1:], plain[1:]


def _line(entry: Mapping[str, Any], answer: Any) -> str:
    return f"{word(entry['question'])} {word(answer)}"
