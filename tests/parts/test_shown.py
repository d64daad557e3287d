"""Parts of the ``show`` stage: what they tell of rows and answers is what is there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.pictures import picture
from kdrun.errors import InputError
from kdrun.parts.shown_embeddings import embedding, principal_plane
from kdrun.parts.shown_images import images, maps
from kdrun.parts.shown_rankings import rankings
from kdrun.parts.shown_scenes import scenes
from kdrun.parts.shown_texts import answers, written
from support.contexts import stage_context
from support.data import dataset
from support.models import make
from support.scenes import split
from support.tensors import generator

IMAGES = dataset(3, image=torch.rand(9, 1, 4, 4, generator=generator()), label=torch.arange(9) % 3)


class Fixed(nn.Module):
    """Gives the same tensors for whatever rows it is asked about."""

    def __init__(self, **outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: value[: len(rows)] for name, value in self.outputs.items()}


def told(returned):
    return returned["shown"].value


def test_images_are_those_of_the_rows_that_are_named() -> None:
    found = told(images(IMAGES, IMAGES, names=["one", "other"], rows=2, every=3))
    assert [group["name"] for group in found["groups"]] == ["one", "other"]
    first = found["groups"][0]["images"]
    assert [(one["row"], one["caption"]) for one in first] == [(0, "0"), (3, "0")]
    assert [one["picture"] for one in first] == [picture(IMAGES.rows()["image"][i]) for i in (0, 3)]
    with pytest.raises(InputError, match="no column 'imag'"):
        images(IMAGES, column="imag")
    with pytest.raises(InputError, match="holds no images"):
        images(IMAGES, column="label")
    with pytest.raises(InputError, match="1 data sets need as many names"):
        images(IMAGES, names=["a", "b"])


def test_maps_of_one_channel_tell_what_they_add_up_to_on_the_scale_of_the_truth() -> None:
    density = torch.zeros(2, 1, 2, 2)
    density[0, 0, 0, 0] = 2.0
    crowd = dataset(image=torch.rand(2, 3, 4, 4), density=torch.ones(2, 1, 2, 2))
    model = Fixed(logits=density)
    first, second = told(maps(model, crowd, truth="density", context=stage_context()))["rows"]
    assert (first["sum"], first["true_sum"], second["sum"]) == (2.0, 4.0, 0.0)
    assert first["truth"] == picture(torch.ones(1, 2, 2), bounds=(0.0, 2.0))
    assert second["map"] == picture(torch.zeros(1, 2, 2), bounds=(0.0, 1.0))
    with pytest.raises(InputError, match="is no map"):
        maps(Fixed(logits=torch.zeros(2, 5)), crowd, context=stage_context())


def test_a_map_of_many_channels_is_the_mean_square_over_them() -> None:
    many = torch.tensor([[[[1.0, 0.0]], [[3.0, 2.0]]]])
    (row,) = told(maps(Fixed(logits=many), dataset(image=torch.rand(1, 3, 4, 4)), context=stage_context()))["rows"]
    assert row["map"] == picture(torch.tensor([[[5.0, 2.0]]]))
    assert "sum" not in row


def test_points_lie_along_the_axes_of_most_variance() -> None:
    along = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    across = torch.tensor([0.1, -0.2, 0.2, -0.2, 0.1])
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator()).double())
    features = torch.stack([along, across, torch.zeros(5), torch.zeros(5)], 1).double() @ rotation.T + 7.0
    points, shares = principal_plane(features)
    assert torch.allclose(points[:, 0].abs(), along.double().abs())
    assert torch.allclose(points[:, 1].abs(), across.double().abs())
    assert shares == pytest.approx([10 / 10.14, 0.14 / 10.14])
    assert torch.equal(principal_plane(features)[0], points)
    with pytest.raises(InputError, match="two rows or more"):
        principal_plane(torch.zeros(1, 4))


def test_an_embedding_has_a_point_and_a_class_a_row() -> None:
    model = make("cnn", num_classes=3, in_channels=1, image_size=4, channels=[8])
    found = told(embedding(model, IMAGES, rows=6, context=stage_context()))
    assert (len(found["points"]), found["classes"], found["names"]) == (6, [0, 1, 2, 0, 1, 2], ["0", "1", "2"])
    assert 0 < sum(found["shares"]) <= 1.0 + 1e-9


def test_answers_are_the_likeliest_tokens_where_one_is_asked_for() -> None:
    info = DataInfo({"tokens": Column((3,), torch.int64)}, extra={"words": ["", "the", "sky", "is", "blue", "red"]})
    columns = {
        "tokens": torch.tensor([[1, 2, 3], [2, 3, 0]]),
        "answer": torch.tensor([[-100, -100, 4], [-100, 4, -100]]),
    }
    logits = torch.zeros(2, 3, 6)
    logits[0, 2, 4], logits[1, 1, 5] = 50.0, 50.0
    first, second = told(answers(Fixed(logits=logits), MemoryDataset(columns, info), context=stage_context()))["rows"]
    assert (first["prompt"], first["answer"], first["reference"]) == ("the sky is", "blue", "blue")
    assert (first["right"], second["right"]) == (True, False)
    assert (second["prompt"], second["answer"]) == ("sky is", "red")
    assert first["probability"] == pytest.approx(1.0)
    assert second["probability"] < 1e-9
    with pytest.raises(InputError, match="answers are ids after each token"):
        answers(Fixed(logits=logits), MemoryDataset(columns, info), answer="label", context=stage_context())


def test_what_was_written_ends_where_it_ended() -> None:
    columns = {
        "tokens": torch.tensor([[0, 7], [8, 9]]),
        "mask": torch.tensor([[False, True], [True, True]]),
        "generated": torch.tensor([[5, 1, 0], [6, 6, 6]]),
        "emitted": torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]),
        "answer": torch.tensor([[5, 1], [6, -100]]),
    }
    first, second = told(written(MemoryDataset(columns, DataInfo({}))))["rows"]
    assert (first["prompt"], first["answer"], first["right"]) == ("7", "5 1", True)
    assert (second["answer"], second["reference"], second["right"]) == ("6 6 6", "6", True)


def test_a_scene_tells_what_counts_of_it() -> None:
    rows = split(2)
    estimates = torch.tensor([[[1.0, 2.0, 0.9], [3.0, 4.0, 0.2]]]).repeat(2, 1, 1)
    found = told(scenes(Fixed(estimates=estimates), rows, torch.tensor(0.5), context=stage_context()))["scenes"]
    columns = rows.rows()
    for i, scene in enumerate(found):
        assert len(scene["targets"]) == int(columns["alive"][i].sum())
        assert len(scene["measurements"]) == int((columns["measurements"][i, :, 2] >= 0).sum())
        assert scene["estimates"] == [[1.0, 2.0, 0.9]]


def test_a_ranking_leaves_out_what_is_known_already() -> None:
    class Scores(nn.Module):
        def forward(self, head, relation, tail, *, candidates):
            assert candidates == "tail"
            return torch.tensor([[0.1, 0.9, 0.5, 0.7]]).repeat(len(head), 1)

    texts = DataInfo({"tokens": Column((2,), torch.int64)}, extra={"words": ["", "one,", "two", "three", "four", "x"]})
    entities = MemoryDataset({"tokens": torch.tensor([[1, 5], [2, 0], [3, 0], [4, 0]])}, texts)
    triple = {name: torch.tensor([number]) for name, number in (("head", 0), ("relation", 0), ("tail", 2))}
    known = {**triple, "tail": torch.tensor([1])}
    data, before = (MemoryDataset(columns, DataInfo({})) for columns in (triple, known))
    (alone,) = told(rankings(Scores(), data, entities, context=stage_context()))["queries"]
    (filtered,) = told(rankings(Scores(), data, entities, before, best=2, context=stage_context()))["queries"]
    assert alone["question"] == "one · relation 0 · ?"
    assert (alone["rank"], filtered["rank"]) == (3, 2)
    assert [(a["name"], a["right"]) for a in filtered["answers"]] == [("four", False), ("three", True)]
