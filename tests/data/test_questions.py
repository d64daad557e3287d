"""Questions with answers from files."""

from __future__ import annotations

import json

import pytest
import torch

from kdrun.data.facts import IGNORED
from kdrun.data.questions import QuestionFolder
from kdrun.errors import DataError
from support.data import assert_as_promised


def questions(root, **options) -> QuestionFolder:
    given = {"vocabulary": 100, "prompt_length": 6, "answer_length": 4, "start": 98, "stop": 99, **options}
    return QuestionFolder(root=str(root), tasks=["sums"], **given)


def test_questions_are_read_padded_and_cut(tmp_path) -> None:
    (tmp_path / "sums").mkdir()
    pairs = [{"prompt": "1+1=", "answer": "2"}, {"prompt": "100+23=", "answer": "123456"}]
    for split in ("train", "valid", "test"):
        (tmp_path / "sums" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    part = questions(tmp_path)
    splits = part.load()
    assert_as_promised(part)
    train, test = splits["tasks"][0]["train"].rows(), splits["tasks"][0]["test"].rows()
    assert test["mask"].sum(1).tolist() == [5, 6]
    assert (test["tokens"][:, 0] == torch.tensor([0, 98])).all()
    assert test["answer"][0, 1:].tolist() == [99, -100, -100]
    assert test["answer"][1, 3] == 99
    for line, target, tokens, mask in zip(train["tokens"], train["target"], test["tokens"], test["mask"], strict=True):
        begin = int(mask.sum())
        assert line[:begin].tolist() == tokens[mask].tolist()
        assert (target[: begin - 1] == IGNORED).all()
        real = target[target != IGNORED]
        assert real[-1] == 99
        assert line[begin : begin + len(real) - 1].tolist() == real[:-1].tolist()


def test_missing_and_broken_questions_are_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"there is no .*sums/train.jsonl: expected one"):
        questions(tmp_path).load()
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "train.jsonl").write_text('{"prompt": "a"}')
    with pytest.raises(DataError, match="line 1: expected"):
        questions(tmp_path).load()
    with pytest.raises(DataError, match="more than 10"):
        questions(tmp_path, vocabulary=10).load()
