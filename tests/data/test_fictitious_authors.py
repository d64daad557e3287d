"""Questions of TOFU, and what is missing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from kdrun.data.biographies import IGNORED
from kdrun.data.fictitious_authors import Tofu
from kdrun.errors import DataError


def test_tofu_reads_questions_and_says_what_is_missing(tmp_path, monkeypatch) -> None:
    letters = SimpleNamespace(encode=lambda text: [ord(c) % 90 for c in text])
    monkeypatch.setattr("kdrun.data.fictitious_authors.tokenizer", lambda name, lower: letters)
    entry = {"question": "who?", "answer": "ada", "paraphrased_answer": "it is ada"}
    entry["perturbed_answer"] = ["bob", "eve"]
    part = Tofu(root=str(tmp_path), block=40, wrong=2, end=99)
    for names in part.files.values():
        for name in names:
            (tmp_path / f"{name}.json").write_text(json.dumps(entry) + "\n")
    splits = part.load()
    for name, info in part.info().items():
        rows = splits[name].rows()
        assert {c: v.shape[1:] for c, v in rows.items() if c != "index"} == {
            c: d.shape for c, d in info.columns.items()
        }
    rows = splits["forget_test"].rows()
    said = rows["target"][0][rows["target"][0] != IGNORED].tolist()
    assert said == [*letters.encode("ada"), 99]
    assert rows["answer"][0][rows["answer"][0] != IGNORED].tolist() == said[:-1]
    first = int((rows["target"][0] != IGNORED).int().argmax())
    assert rows["tokens"][0][: first + 1].tolist() == letters.encode("Question: who?\nAnswer: ")
    assert splits["utility"].rows()["part"].tolist() == [0, 1, 2]
    (tmp_path / "full.json").unlink()
    with pytest.raises(DataError, match=r"there is no .*full.json: expected the files of locuslab/TOFU"):
        part.load()
