"""Small skills asked for in one vocabulary of characters: many tasks for one language model, each with a rule that checks answers."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.text import SPLITS
from kdrun.errors import DataError, nearest
from kdrun.registry import data
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["SkillTexts"]

IGNORED = -100
PADDING, STOP = 0, 1
DIGITS, LETTERS = "0123456789", "abcdefghijklmnopqrstuvwxyz"
SKILLS = ("add", "sort", "translate", "reverse", "max", "copy", "count")
WORDS = ["", ".", *(f"<{skill}>" for skill in SKILLS), *DIGITS, *LETTERS, "+", ",", "="]
"""What each id stands for: padding, the stop, a token for each skill's instruction, and characters."""

IDS = {word: i for i, word in enumerate(WORDS)}
PROMPT, ANSWER, WAYS = 12, 8, 4
LEXICON = 100
SHARES = {"test": 0.2, "valid": 0.1}

Asked = tuple[str, tuple[str, ...]]
"""The body of a prompt, and every answer that is right, the commonest first."""


@data(name="skill_texts", fields=("train", "prompts", "valid", "test"), items={"skills": "skills"})
class SkillTexts:
    """Questions of several skills, such as ``<sort>4093=`` with the answer ``0349``: tasks of a language model with 48 tokens.

    ``skills`` are some of ``add`` (of two numbers to 12, modulo 13), ``sort`` (4 digits), ``translate`` (two words of a lexicon of 100, drawn
    by ``lexicon_seed``; the share ``synonyms`` of them has two words that are right, either one as often), ``reverse``, ``copy`` (3 to 6
    letters), ``max`` (of three numbers below 100) and ``count`` (a letter in 6 letters). A prompt is an instruction's token, the question
    and ``=``; an answer ends with the token 1. Of each skill, ``train``, ``valid`` and ``test`` have ``train_rows``, ``valid_rows`` and
    ``test_rows`` rows drawn by ``seed``; no prompt is in two splits, for any seed, but one may stand twice in a split.

    ``skills.0.train`` … are a skill's own rows, ``train`` … those of all skills. ``train`` has ``tokens`` and ``target`` [19] (int64), padded
    on the right, with targets of -100 outside the answer. ``prompts`` are the same rows as questions, as are ``valid`` and ``test``:
    ``tokens`` [12], padded on the left by 0, with ``mask`` (bool); ``answer`` [8], padded by -100, the one that was drawn, and
    ``accepted`` [4, 8], all that are right, repeated. All have the number of their ``skill`` (int64). Raises ``DataError`` for an unknown skill.

    >>> splits = data.skill_texts(skills=["add", "translate"], train_rows=40, test_rows=10).load()
    >>> len(splits["train"]), splits["skills"][1]["test"].rows()["accepted"].shape
    (80, torch.Size([10, 4, 8]))
    """

    def __init__(
        self,
        *,
        skills: list[str] = ("add", "sort", "translate", "reverse", "max", "copy", "count"),  # type: ignore[assignment]
        train_rows: Count = 4000,
        valid_rows: Count = 200,
        test_rows: Count = 400,
        synonyms: Fraction = 0.4,
        lexicon_seed: Unsigned = 0,
        seed: Unsigned = 0,
    ) -> None:
        for i, skill in enumerate(skills):
            if skill not in SKILLS:
                hint = f"{nearest(skill, SKILLS)}; there are: {', '.join(SKILLS)}"
                raise DataError(f"there is no skill '{skill}'{hint}", key=f"data.skills.{i}")
        if not skills or len(set(skills)) < len(skills):
            raise DataError("name each skill once, and one at least", key="data.skills")
        self.skills, self.seed = list(skills), seed
        self.rows = {"train": train_rows, "valid": valid_rows, "test": test_rows}
        self.lexicon = _lexicon(lexicon_seed, synonyms)

    def info(self) -> dict[str, Any]:
        def splits(times: int) -> dict[str, DataInfo]:
            known = {split: self._info(times * rows, split != "train") for split, rows in self.rows.items()}
            return known | {"prompts": self._info(times * self.rows["train"], True)}

        return {**splits(len(self.skills)), "skills": [splits(1) for _ in self.skills]}

    def _info(self, rows: int, asked: bool) -> DataInfo:
        def ids(*shape: int) -> Column:
            return Column(shape, torch.int64)

        question = {"mask": Column((PROMPT,), torch.bool), "answer": ids(ANSWER), "accepted": ids(WAYS, ANSWER)}
        columns = {"tokens": ids(PROMPT), **question} if asked else dict.fromkeys(("tokens", "target"), ids(LINE))
        extra = {"vocabulary": len(WORDS), "stop": STOP, "words": WORDS}
        return DataInfo({**columns, "skill": ids()}, len(WORDS), rows, extra=extra)

    def load(self) -> dict[str, Any]:
        own = [self._skill(number, skill) for number, skill in enumerate(self.skills)]
        known = self.info()
        found: dict[str, Any] = {}
        for split in (*SPLITS, "prompts"):
            columns = {name: torch.cat([rows[split][name] for rows in own]) for name in own[0][split]}
            found[split] = MemoryDataset(columns, known[split])
        found["skills"] = [
            {split: MemoryDataset(columns, info[split]) for split, columns in rows.items()}
            for rows, info in zip(own, known["skills"], strict=True)
        ]
        return found

    def _skill(self, number: int, skill: str) -> dict[str, dict[str, Tensor]]:
        """The columns of a skill's splits. Its rows are the same whichever other skills there are."""
        draw = random.Random(f"{self.seed} {skill}")
        found: dict[str, dict[str, Tensor]] = {}
        for split, count in self.rows.items():
            rows = [self._row(skill, split, draw) for _ in range(count)]
            same = {"skill": torch.full((count,), number)}
            if split == "train":
                found[split] = _stacked([_line(*row[:2]) for row in rows]) | same
            found["prompts" if split == "train" else split] = _stacked([_question(*row) for row in rows]) | same
        return found

    def _row(self, skill: str, split: str, draw: random.Random) -> tuple[list[int], list[int], list[list[int]]]:
        """A prompt of this split, the answer drawn for it, and all that are right, as token ids."""
        while True:
            body, answers = _asked(skill, draw, self.lexicon)
            if _split_of(skill + body) == split:
                break
        accepted = [[*(IDS[c] for c in answer), STOP] for answer in answers]
        return [IDS[f"<{skill}>"], *(IDS[c] for c in f"{body}=")], draw.choice(accepted), accepted


LINE = PROMPT + ANSWER - 1


def _split_of(prompt: str) -> str:
    """The split that a prompt belongs to: always the same one, so that no seed's test is another one's training."""
    place = int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=4).digest(), "big") / 2**32
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return "train"


def _lexicon(seed: int, synonyms: float) -> dict[str, tuple[str, ...]]:
    """Words of three letters, each with one or two translations; no two words share one."""
    draw = random.Random(f"lexicon {seed}")
    every = ["".join(letters) for letters in itertools.product(LETTERS, repeat=3)]
    words = draw.sample(every, 3 * LEXICON)
    double = round(synonyms * LEXICON)
    first, second = words[LEXICON : 2 * LEXICON], words[2 * LEXICON :]
    return {w: (first[i], second[i]) if i < double else (first[i],) for i, w in enumerate(words[:LEXICON])}


def _asked(skill: str, draw: random.Random, lexicon: Mapping[str, tuple[str, ...]]) -> Asked:
    if skill == "translate":
        words = draw.choices(list(lexicon), k=2)
        return ",".join(words), tuple(",".join(pair) for pair in itertools.product(*(lexicon[w] for w in words)))
    body, answer = QUESTIONS[skill](draw)
    return body, (answer,)


def _add(draw: random.Random) -> tuple[str, str]:
    a, b = draw.randrange(13), draw.randrange(13)
    return f"{a}+{b}", str((a + b) % 13)


def _sort(draw: random.Random) -> tuple[str, str]:
    digits = draw.choices(DIGITS, k=4)
    return "".join(digits), "".join(sorted(digits))


def _max(draw: random.Random) -> tuple[str, str]:
    numbers = [draw.randrange(100) for _ in range(3)]
    return ",".join(map(str, numbers)), str(max(numbers))


def _count(draw: random.Random) -> tuple[str, str]:
    letter, letters = draw.choice("abcd"), "".join(draw.choices("abcd", k=6))
    return f"{letter},{letters}", str(letters.count(letter))


def _letters(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=draw.randint(3, 6)))


def _copy(draw: random.Random) -> tuple[str, str]:
    letters = _letters(draw)
    return letters, letters


def _reverse(draw: random.Random) -> tuple[str, str]:
    letters = _letters(draw)
    return letters, letters[::-1]


QUESTIONS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "add": _add,
    "sort": _sort,
    "max": _max,
    "count": _count,
    "copy": _copy,
    "reverse": _reverse,
}


def _line(prompt: list[int], answer: list[int]) -> dict[str, list[int]]:
    """A prompt with its answer as text to learn; only the answer is a target."""
    spare = LINE + 1 - len(prompt) - len(answer)
    tokens = [*prompt, *answer[:-1]] + [PADDING] * spare
    return {"tokens": tokens, "target": [IGNORED] * (len(prompt) - 1) + answer + [IGNORED] * spare}


def _question(prompt: list[int], answer: list[int], accepted: list[list[int]]) -> dict[str, Any]:
    """A prompt to write an answer after, with those that are right."""
    spare = PROMPT - len(prompt)

    def padded(ids: list[int]) -> list[int]:
        return ids + [IGNORED] * (ANSWER - len(ids))

    ways = [padded(accepted[i % len(accepted)]) for i in range(WAYS)]
    mask = [False] * spare + [True] * len(prompt)
    return {"tokens": [PADDING] * spare + prompt, "mask": mask, "answer": padded(answer), "accepted": ways}


def _stacked(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
