"""Questions of small skills, against the rules that made them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kdrun.data.skills import IGNORED, PADDING, SKILLS, STOP, WORDS, SkillTexts
from kdrun.errors import DataError
from kdrun.ops.language import accepted_answer
from support.data import assert_as_promised

SMALL = {"train_rows": 60, "valid_rows": 12, "test_rows": 30}
RULES = {
    "add": lambda body: str(sum(map(int, body.split("+"))) % 13),
    "sort": lambda body: "".join(sorted(body)),
    "reverse": lambda body: body[::-1],
    "max": lambda body: str(max(map(int, body.split(",")))),
    "copy": lambda body: body,
    "count": lambda body: str(body[2:].count(body[0])),
}


def said(ids: torch.Tensor) -> str:
    return "".join(WORDS[i] for i in ids.tolist() if i > STOP)


def asked(rows: dict[str, torch.Tensor]) -> Iterator[tuple[str, str, list[str]]]:
    """The prompt, the answer and all right answers of each row, as text."""
    for prompt, answer, ways in zip(rows["tokens"], rows["answer"], rows["accepted"], strict=True):
        yield said(prompt), said(answer), [said(way) for way in ways]


def test_splits_are_as_they_were_said_to_be_and_drawn_by_the_seed() -> None:
    part = SkillTexts(**SMALL)
    assert_as_promised(part)
    splits, again, other = part.load(), part.load(), SkillTexts(**SMALL, seed=1).load()
    assert torch.equal(splits["train"].rows()["tokens"], again["train"].rows()["tokens"])
    assert not torch.equal(splits["train"].rows()["tokens"], other["train"].rows()["tokens"])
    assert splits["test"].rows()["skill"].tolist() == [i for i in range(7) for _ in range(30)]
    alone = SkillTexts(**SMALL, skills=["sort"]).load()
    assert torch.equal(alone["train"].rows()["tokens"], splits["skills"][1]["train"].rows()["tokens"])


def test_answers_follow_the_rule_of_their_skill() -> None:
    splits = SkillTexts(**SMALL).load()
    for skill, own in zip(SKILLS, splits["skills"], strict=True):
        for split in ("prompts", "valid", "test"):
            for prompt, answer, ways in asked(own[split].rows()):
                assert prompt.startswith(f"<{skill}>")
                assert prompt.endswith("=")
                assert answer in ways
                if skill in RULES:
                    assert set(ways) == {RULES[skill](prompt.removeprefix(f"<{skill}>")[:-1])}


def test_a_line_is_its_prompt_and_answer_and_only_the_answer_is_a_target() -> None:
    splits = SkillTexts(**SMALL).load()
    lines, prompts = splits["train"].rows(), splits["prompts"].rows()
    for tokens, target, prompt, mask, answer in zip(
        lines["tokens"], lines["target"], prompts["tokens"], prompts["mask"], prompts["answer"], strict=True
    ):
        begin = int(mask.sum())
        told = answer[answer != IGNORED]
        assert tokens[:begin].tolist() == prompt[mask].tolist()
        assert target[target != IGNORED].tolist() == told.tolist()
        assert int(told[-1]) == STOP
        assert (target[: begin - 1] == IGNORED).all()
        assert tokens[begin : begin + len(told) - 1].tolist() == told[:-1].tolist()
        assert (tokens[begin + len(told) - 1 :] == PADDING).all()


def test_no_prompt_is_in_two_splits_whatever_the_seed() -> None:
    found: dict[str, set[str]] = {"prompts": set(), "valid": set(), "test": set()}
    for seed in range(3):
        splits = SkillTexts(**SMALL, seed=seed).load()
        for split, prompts in found.items():
            prompts.update(prompt for prompt, _, _ in asked(splits[split].rows()))
    assert not found["prompts"] & found["test"]
    assert not found["prompts"] & found["valid"]
    assert not found["valid"] & found["test"]


def test_the_lexicon_has_synonyms_and_both_are_drawn_and_its_own_seed() -> None:
    part = SkillTexts(skills=["translate"], train_rows=2000)
    assert sum(len(words) == 2 for words in part.lexicon.values()) == 40
    every = [word for words in part.lexicon.values() for word in words]
    assert len(set(every)) == len(every) == 140
    assert part.lexicon == SkillTexts(seed=5).lexicon != SkillTexts(lexicon_seed=1).lexicon
    assert all(len(words) == 1 for words in SkillTexts(synonyms=0.0).lexicon.values())
    first = 0
    several = 0
    for prompt, answer, ways in asked(part.load()["prompts"].rows()):
        source = prompt.removeprefix("<translate>")[:-1].split(",")
        rights = {f"{a},{b}" for a in part.lexicon[source[0]] for b in part.lexicon[source[1]]}
        assert set(ways) == rights
        several += len(rights) > 1
        first += len(rights) > 1 and answer == ways[0]
    assert several / 2000 == pytest.approx(1 - 0.6**2, abs=0.05)
    assert 0.3 < first / several < 0.55  # of two ways a half, of four a quarter


def test_right_answers_are_accepted_and_others_are_not() -> None:
    rows = SkillTexts(**SMALL).load()["test"].rows()
    written = rows["answer"].where(rows["answer"] != IGNORED, PADDING)
    assert accepted_answer(written, rows["accepted"]).min().item() == 1.0
    assert accepted_answer(written.where(written != STOP, PADDING), rows["accepted"]).max().item() == 0.0


def test_skills_that_there_are_not_or_twice_are_refused() -> None:
    with pytest.raises(DataError, match="no skill 'sorts' .did you mean 'sort'"):
        SkillTexts(skills=["sorts"])
    for skills in ([], ["add", "add"]):
        with pytest.raises(DataError, match="name each skill once"):
            SkillTexts(skills=skills)
