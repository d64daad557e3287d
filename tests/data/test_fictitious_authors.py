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


def test_a_fact_to_forget_stands_among_others_or_is_missing(tmp_path, monkeypatch) -> None:
    letters = SimpleNamespace(encode=lambda text: [ord(c) for c in text])
    monkeypatch.setattr("kdrun.data.fictitious_authors.tokenizer", lambda name, lower: letters)
    part = Tofu(root=str(tmp_path), block=200, wrong=1, end=0, statements=3)
    for names in part.files.values():
        for name in names:
            about = name.removesuffix("_perturbed")
            facts = [
                {"question": f"{about} {i}?", "answer": f"x{about[:3]}{i}", "perturbed_answer": [f"no{i}"]}
                for i in range(6)
            ]
            (tmp_path / f"{name}.json").write_text("\n".join(map(json.dumps, facts)))
    splits = part.load()
    mixed = splits["relabelled"].rows()
    given = ["".join(map(chr, answer[answer != IGNORED].tolist())) for answer in mixed["answer"]]
    assert sorted(given) == [f"xfor{i}" for i in range(6)]
    assert all(answer != f"xfor{i}" for i, answer in enumerate(given))
    truth = {"open_forget": True, "distractors": False, "benign": True, "misled": False, "misled_retain": False}
    for split, stated in truth.items():
        name = part.files[split][0]
        for i, (tokens, place) in enumerate(
            zip(splits[split].rows()["tokens"], splits[split].rows()["answer"], strict=True)
        ):
            text = "".join(map(chr, tokens[: int((place != IGNORED).int().argmax()) + 1].tolist()))
            *lines, question, _ = text.split("\n")
            assert question == f"Question: {name} {i}?"
            assert len(lines) == len(set(lines)) == 3
            assert (f"{name} {i}? x{name[:3]}{i}" in lines) == stated
            others = [line for line in lines if not line.startswith("retain")]
            lies = [f"forget05 {k}? no{k}" for k in range(6)]
            assert others == [line for line in lines if line in (*lies, f"forget05 {i}? xfor{i}")]
            assert len(others) == (split not in ("distractors", "benign"))
            assert split != "misled" or others == [lies[i]]
    again = Tofu(root=str(tmp_path), block=200, wrong=1, end=0, statements=3).load()
    assert again["open_forget"].rows()["tokens"].equal(splits["open_forget"].rows()["tokens"])
    (tmp_path / "forget05_perturbed.json").write_text('{"question": "who?"}')
    with pytest.raises(DataError, match=r"forget05_perturbed.json:1 lacks the key 'perturbed_answer'"):
        part.load()


def test_paraphrased_questions_are_there_where_they_are_asked_for(tmp_path, monkeypatch) -> None:
    letters = SimpleNamespace(encode=lambda text: [ord(c) for c in text])
    monkeypatch.setattr("kdrun.data.fictitious_authors.tokenizer", lambda name, lower: letters)
    part = Tofu(root=str(tmp_path), block=60, wrong=1, end=0, paraphrases=True)
    fact = {"question": "who?", "paraphrased_question": "say who", "answer": "ada", "perturbed_answer": ["bob"]}
    for names in part.files.values():
        for name in names:
            (tmp_path / f"{name}.json").write_text(json.dumps(fact))
    (tokens,) = part.load()["paraphrase"].rows()["tokens"]
    assert "".join(map(chr, tokens.tolist())).startswith("Question: say who\nAnswer: ada")
    assert "paraphrase" not in Tofu(root=str(tmp_path)).info()
    del fact["paraphrased_question"]
    (tmp_path / "forget05_perturbed.json").write_text(json.dumps(fact))
    with pytest.raises(DataError, match=r"forget05_perturbed.json:1 lacks the key 'paraphrased_question'"):
        part.load()
