"""Answers as lines to learn from: against lines that were made another way, and row by row."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.skills import SkillTexts
from kdrun.errors import InputError
from kdrun.parts.text_generation import decoding
from kdrun.parts.written_answers import answer_lines
from support.contexts import stage_context
from support.data import dataset
from support.models import make


def test_questions_with_their_answers_become_the_lines_that_they_were_made_from() -> None:
    splits = SkillTexts(train_rows=50, valid_rows=1, test_rows=1).load()
    lines = answer_lines(splits["prompts"], column="answer", written=None).rows()
    assert torch.equal(lines["tokens"], splits["train"].rows()["tokens"])
    assert torch.equal(lines["target"], splits["train"].rows()["target"])
    assert torch.equal(lines["mask"], lines["tokens"] != 0)
    assert torch.equal(lines["skill"], splits["prompts"].rows()["skill"])


def test_what_a_model_writes_greedily_is_what_it_says_after_the_line_without_cache_or_padding() -> None:
    model = make("causal_transformer", vocabulary=11, dim=16, depth=2, heads=2, max_length=16).eval()
    tokens = torch.randint(1, 11, (8, 5), generator=torch.Generator().manual_seed(0))
    short = torch.arange(5) < (torch.arange(8) % 4)[:, None]
    asked = dataset(tokens=tokens.masked_fill(short, 0), mask=~short)
    told = decoding(
        model, asked, max_tokens=6, stop=[3, 7], context=stage_context(), generator=torch.Generator().manual_seed(0)
    )
    lines = answer_lines(told).rows()
    with torch.no_grad():
        said = model(lines["tokens"]).argmax(-1)
    counted = lines["target"] >= 0
    assert torch.equal(counted.sum(1), told.rows()["emitted"].sum(1).long())
    assert torch.equal(said[counted], lines["target"][counted])


def test_a_token_of_the_padding_s_number_inside_an_answer_is_a_target() -> None:
    rows = dataset(tokens=torch.tensor([[0, 4]]), mask=torch.tensor([[False, True]]))
    rows = rows.with_columns({"generated": torch.tensor([[0, 0, 2]]), "emitted": torch.ones(1, 3)})
    lines = answer_lines(rows).rows()
    assert lines["tokens"].tolist() == [[4, 0, 0, 0]]
    assert lines["target"].tolist() == [[0, 0, 2, -100]]
    assert lines["mask"].tolist() == [[True, True, True, False]]


def test_missing_columns_and_empty_prompts_are_refused() -> None:
    rows = dataset(tokens=torch.tensor([[0, 4]]), generated=torch.tensor([[1]]))
    with pytest.raises(InputError, match="no column 'emitted'"):
        answer_lines(rows)
    with pytest.raises(InputError, match="a prompt has no token"):
        answer_lines(rows.with_columns({"tokens": torch.zeros(1, 2, dtype=torch.int64)}), written=None)
