"""Questions with their answers from files, as prompts for a language model and as text to tune it on."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.fingerprints import fingerprint_of
from kdrun.data.text import SPLITS
from kdrun.data.text_reading import json_lines, word
from kdrun.data.tokenizers import Tokenizer, tokenizer
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, PathToRead, PretrainedName, Unsigned

__all__ = ["QuestionFolder"]

IGNORED = -100
"""The target at prompts and padding, which cross-entropy leaves out."""


@data(name="question_folder", items={"tasks": "tasks"}, fingerprint=True)
class QuestionFolder:
    """Prompts with answers: ``root/TASK/SPLIT.jsonl`` with ``{"prompt": ..., "answer": ...}`` a line; splits train, valid, test.

    ``tasks`` has one entry for each task. Its ``train`` is ``tokens`` and ``target`` [prompt_length + answer_length -
    1] (int64), padded on the right; only the answer and the token ``stop`` behind it are targets, all others are -100.
    Its ``valid`` and ``test`` have ``tokens`` [prompt_length], padded on the left, with ``mask`` (bool), and the
    ``answer`` [answer_length] with its stop, padded by -100. Prompts are cut on the left (``start``, an id, stays),
    answers on the right. ``tokenizer`` is ``characters`` or one of transformers, with ``vocabulary`` tokens at most.
    Raises ``DataError`` if a file is missing or a line is of another form.

    >>> known = data.question_folder(tasks=["sums"], vocabulary=100, prompt_length=16, answer_length=4).info()
    >>> known["tasks"][0]["train"].columns["tokens"].shape, known["tasks"][0]["test"].columns["answer"].shape
    ((19,), (4,))
    """

    def __init__(
        self,
        *,
        tasks: list[str],
        root: PathToRead = "~/.cache/kdrun/data/questions",
        tokenizer: PretrainedName = "characters",
        vocabulary: Count,
        prompt_length: Count = 480,
        answer_length: Count = 32,
        start: Unsigned | None = None,
        stop: Unsigned = 0,
    ) -> None:
        self.root, self.tasks, self.tokenizer, self.vocabulary = Path(root).expanduser(), tasks, tokenizer, vocabulary
        self.prompt_length, self.answer_length, self.start, self.stop = prompt_length, answer_length, start, stop

    def info(self) -> dict[str, list[Mapping[str, DataInfo]]]:
        ids = functools.partial(Column, dtype=torch.int64)
        line, prompt = (self.prompt_length + self.answer_length - 1,), (self.prompt_length,)
        asked = {"tokens": ids(prompt), "mask": Column(prompt, torch.bool), "answer": ids((self.answer_length,))}
        extra = {"vocabulary": self.vocabulary, "stop": self.stop}
        train, other = ({"tokens": ids(line), "target": ids(line)}, asked)
        known = {s: DataInfo(train if s == "train" else other, self.vocabulary, extra=extra) for s in SPLITS}
        return {"tasks": [known for _ in self.tasks]}

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times of change."""
        paths = [self.root / task / f"{split}.jsonl" for task in self.tasks for split in SPLITS]
        return fingerprint_of(paths, self.root)

    def load(self) -> dict[str, list[dict[str, MemoryDataset]]]:
        encoder = tokenizer(self.tokenizer)
        if len(encoder.pieces()) > self.vocabulary:
            raise DataError(
                f"the tokenizer has {len(encoder.pieces())} tokens, more than {self.vocabulary}", key="data.vocabulary"
            )
        known = self.info()["tasks"]
        return {
            "tasks": [
                {split: self._split(task, split, encoder, info[split]) for split in SPLITS}
                for task, info in zip(self.tasks, known, strict=True)
            ]
        }

    def _split(self, task: str, split: str, encoder: Tokenizer, info: DataInfo) -> MemoryDataset:
        pairs = [
            self._encoded(prompt, answer, encoder) for prompt, answer in self._read(self.root / task / f"{split}.jsonl")
        ]
        if split == "train":
            rows = [self._line(prompt, answer) for prompt, answer in pairs]
        else:
            rows = [self._question(prompt, answer) for prompt, answer in pairs]
        return MemoryDataset({name: torch.stack([row[name] for row in rows]) for name in rows[0]}, info)

    def _read(self, path: Path) -> list[tuple[str, str]]:
        form = '{"prompt": "...", "answer": "..."}'
        if not path.is_file():
            raise DataError(f"there is no {path}: expected one {form} a line", key="data.root")
        found = []
        for number, content in json_lines(path, form):
            try:
                found.append((word(content["prompt"]), word(content["answer"])))
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{path}, line {number}: expected {form}", key="data.root") from None
        if not found:
            raise DataError(f"{path} is empty: expected one {form} a line", key="data.root")
        return found

    def _encoded(self, prompt: str, answer: str, encoder: Tokenizer) -> tuple[list[int], list[int]]:
        begin = [] if self.start is None else [self.start]
        kept = encoder.encode(prompt)[-(self.prompt_length - len(begin)) :] if self.prompt_length > len(begin) else []
        return [*begin, *kept], [*encoder.encode(answer)[: self.answer_length - 1], self.stop]

    def _line(self, prompt: list[int], answer: list[int]) -> dict[str, Tensor]:
        length = self.prompt_length + self.answer_length - 1
        whole = [*prompt, *answer]
        tokens, target = torch.zeros(length, dtype=torch.int64), torch.full((length,), IGNORED)
        tokens[: len(whole) - 1] = torch.tensor(whole[:-1])
        target[len(prompt) - 1 : len(whole) - 1] = torch.tensor(answer)
        return {"tokens": tokens, "target": target}

    def _question(self, prompt: list[int], answer: list[int]) -> dict[str, Tensor]:
        tokens, mask = (
            torch.zeros(self.prompt_length, dtype=torch.int64),
            torch.zeros(self.prompt_length, dtype=torch.bool),
        )
        tokens[self.prompt_length - len(prompt) :] = torch.tensor(prompt)
        mask[self.prompt_length - len(prompt) :] = True
        padded = torch.full((self.answer_length,), IGNORED)
        padded[: len(answer)] = torch.tensor(answer)
        return {"tokens": tokens, "mask": mask, "answer": padded}
