"""Tasks of classification from files of texts and pairs."""

from __future__ import annotations

import json
from itertools import zip_longest

import pytest
import torch

from kdrun.data.task_texts import TextTasks
from kdrun.errors import DataError
from support.data import assert_as_promised


class Letters:
    """Reads letters, with 2 around a text and between two; the longer one is cut."""

    def __call__(self, texts, pairs, *, truncation, max_length):
        assert truncation == "longest_first"
        rows = []
        for first, second in zip_longest(texts, pairs or []):
            parts = [[ord(c) for c in text] for text in (first, second) if text is not None]
            while sum(map(len, parts)) + len(parts) + 1 > max_length:
                max(parts, key=len).pop()
            rows.append([2, *(i for part in parts for i in (*part, 2))])
        return {"input_ids": rows}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("kdrun.data.task_texts.pretrained_tokenizer", lambda name, extra: Letters())
    lines = {
        "mood": [{"text": "good", "label": 1}, {"text": "a very long one", "label": 0}],
        "same": [{"text": "abcdefg", "pair": "ab", "label": 2}],
    }
    for task, rows in lines.items():
        (tmp_path / task).mkdir()
        for split in ("train", "valid", "test"):
            (tmp_path / task / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def tasks(root, **options) -> TextTasks:
    named = {"sources": ["same"], "targets": ["mood"], "classes": {"mood": 2, "same": 3}, **options}
    return TextTasks(root=str(root), length=9, rows={"mood": 2}, **named)


def test_texts_and_pairs_are_read_padded_and_cut(folder) -> None:
    part = tasks(folder)
    assert_as_promised(part)
    splits = part.load()
    mood, same = splits["targets"][0]["train"].rows(), splits["sources"][0]["test"].rows()
    assert mood["tokens"][0].tolist() == [2, *map(ord, "good"), 2, 1, 1, 1]
    assert mood["mask"].sum(1).tolist() == [6, 9]
    assert mood["label"].tolist() == [1, 0]
    assert same["tokens"][0].tolist() == [2, *map(ord, "abcd"), 2, *map(ord, "ab"), 2]
    assert torch.equal(mood["mask"], mood["tokens"] != 1)
    assert splits["sources"][0]["train"].info.classes == 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"text": "a", "label": 2}', "line 1: a label of 'mood' is a number from 0 to 1, got 2"),
        ('{"text": "a"}', "line 1 lacks the key 'label'"),
        ('{"text": null, "label": 1}', "line 1: expected text"),
        ('{"text": "a", "label": 1}\n{"text": "a", "pair": "b", "label": 1}', "some lines have a pair"),
        ("", "is empty"),
    ],
)
def test_lines_of_another_form_are_named(folder, line, told) -> None:
    (folder / "mood" / "valid.jsonl").write_text(line)
    with pytest.raises(DataError, match=told):
        tasks(folder).load()


def test_a_task_has_a_number_of_classes_and_its_files(folder) -> None:
    with pytest.raises(DataError, match="how many classes has the task 'other'"):
        tasks(folder, targets=["other"])
    (folder / "mood" / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"there is no file .*mood/test.jsonl"):
        tasks(folder).load()
