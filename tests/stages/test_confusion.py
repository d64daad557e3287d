"""``confusion``: which class a model takes for which, as counts, as a record and on pages."""

from __future__ import annotations

import base64
import io
import json

import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.pictures import picture
from kdrun.engine.query import RecordedRun
from kdrun.engine.recording import run_recorded
from kdrun.engine.records import read_record
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.report.exhibits import exhibits_of
from support.recipes import QUICK


@pytest.fixture
def counted(session):
    """A quick run of distillation with its confusion, and the labels and answers of the same student."""
    said = "+graph.said={stage: predict, from: [fit_student, data.test]}"
    ready = session("kd", *QUICK, "+add=confusion", said, "results=[said]")
    _, folder = run_recorded(ready)
    label = ready.executor.value(Ref("data", ("test",))).rows()["label"]
    return ready, folder, label, ready.executor.value(Ref("said", ())).argmax(1)


def test_counts_are_those_of_the_same_answers(counted) -> None:
    ready, folder, label, answer = counted
    counts = ready.executor.value(Ref("confusion", ()))
    expected = confusion_matrix(label, answer, labels=range(10))
    assert counts.tolist() == expected.tolist()
    assert 0 < counts.diagonal().sum() < counts.sum()
    (shown,) = json.loads((folder / "shown.json").read_text()).values()
    assert shown["counts"] == expected.tolist()

    (exhibit,) = exhibits_of(RecordedRun(folder, read_record(folder)))
    page = exhibit.content
    assert [[c["count"] for c in line["cells"]] for line in page["matrix"]] == expected.tolist()
    precision, recall, _, rows = precision_recall_fscore_support(label, answer, labels=range(10), zero_division=0)
    for line, p, r, n in zip(page["classes"], precision, recall, rows, strict=True):
        assert line[1:3] == [str(n), f"{100 * r:.1f} %"]
        assert line[3] in (f"{100 * p:.1f} %", "")


def test_the_rows_shown_are_the_wrong_ones_the_surest_first(counted) -> None:
    ready, folder, label, answer = counted
    shown = json.loads((folder / "shown.json").read_text())["confusion"]["wrong"]
    rows = ready.executor.value(Ref("data", ("test",))).rows()
    probability = ready.executor.value(Ref("said", ())).double().softmax(1).amax(1)
    place = {number: i for i, number in enumerate(rows["index"].tolist())}
    at = [place[one["row"]] for one in shown]
    assert [one["label"] for one in shown] == label[at].tolist()
    assert [one["answer"] for one in shown] == answer[at].tolist()
    wrong = probability[answer != label].sort(descending=True).values[:24]
    assert torch.allclose(torch.tensor([one["probability"] for one in shown], dtype=torch.float64), wrong)
    assert len(set(at)) == len(wrong) == 24
    assert [one["picture"] for one in shown] == [picture(rows["image"][i]) for i in at]


def test_a_picture_has_the_pixels_of_its_image() -> None:
    image = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]])
    drawn = Image.open(io.BytesIO(base64.b64decode(picture(image).partition(",")[2])))
    assert list(drawn.tobytes()) == [0, 128, 128, 255]
    large = picture(torch.rand(3, 96, 64))
    assert Image.open(io.BytesIO(base64.b64decode(large.partition(",")[2]))).size == (32, 48)
    assert picture(torch.zeros(64)) is None
    bounded = picture(image, bounds=(-1.0, 3.0))
    assert list(Image.open(io.BytesIO(base64.b64decode(bounded.partition(",")[2]))).tobytes()) == [0, 64, 64, 128]


def test_a_wrong_row_of_tokens_is_told_in_words() -> None:
    from kdrun.stages.confusion import _wrong

    read = DataInfo({"tokens": Column((2,), torch.int64)}, extra={"words": ["", "cold", "warm"]})
    rows = MemoryDataset({"tokens": torch.tensor([[1, 2], [2, 0]]), "label": torch.tensor([0, 1])}, read)
    (told,) = _wrong(torch.tensor([[2.0, 0.0], [3.0, 0.0]]), rows.column("label"), rows, "image", 5)
    assert (told["row"], told["answer"], told["text"]) == (1, 0, "warm")


def test_asking_for_it_leaves_every_other_result_as_it_was(session) -> None:
    plain, asked = session("kd", *QUICK), session("kd", *QUICK, "+add=confusion")
    others = [n.name for n in plain.graph.stages()]
    assert [n.name for n in asked.graph.stages() if n.name not in others] == ["confusion"]
    assert {n: plain.keys[n] for n in others} == {n: asked.keys[n] for n in others}


def test_of_many_classes_the_most_confused_pairs_are_shown(session) -> None:
    ready = session("kd", *QUICK, "+add=confusion", "+graph.confusion.largest=3")
    _, folder = run_recorded(ready)
    counts = ready.executor.value(Ref("confusion", ()))
    wrong = counts - torch.diag(counts.diagonal())
    (exhibit,) = exhibits_of(RecordedRun(folder, read_record(folder)))
    page = exhibit.content
    assert page["matrix"] == []
    found = [wrong[int(label), int(answer)].item() for label, answer, *_ in page["pairs"]]
    assert found == wrong.flatten().sort(descending=True).values[:3].tolist()
    assert [int(n) for _, _, n, _ in page["pairs"]] == found


def test_what_is_no_class_is_refused(session, tmp_path) -> None:
    from kdrun.stages.confusion import _of_classes

    with pytest.raises(InputError, match="the model knows 2 classes, the labels are 0 to 2"):
        _of_classes({"logits": torch.zeros(2, 2), "label": torch.tensor([0, 2])}, "graph.c")
    with pytest.raises(InputError, match="one class a row"):
        _of_classes({"logits": torch.zeros(2, 2), "label": torch.zeros(2, 2)}, "graph.c")


def test_a_record_of_another_form_is_left_out(tmp_path) -> None:
    (tmp_path / "shown.json").write_text('{"a": {"kind": "confusion", "names": ["x"]}, "b": 3}')
    assert exhibits_of(RecordedRun(tmp_path, {"metrics": {}})) == []
