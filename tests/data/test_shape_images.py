"""Coloured shapes: what is drawn is what the name says, and tasks bring classes or domains."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.shape_images import COLOURS, SHAPES, ShapeTasks
from kdrun.errors import DataError
from support.data import assert_as_promised

SMALL = {"per_class": 6, "valid_per_class": 2, "test_per_class": 3}
PLAIN = {"jitter": 0.0, "background": 0.0, "noise": 0.0}


@pytest.mark.parametrize(("increment", "classes"), [("classes", 4), ("domains", 20)])
def test_tasks_are_as_promised_and_bring_classes_or_domains(increment, classes) -> None:
    tasks = assert_as_promised(ShapeTasks(**SMALL, increment=increment, seed=1))["tasks"]
    assert len(tasks) == 5
    labels = [task["train"].column("label").unique() for task in tasks]
    assert [len(found) for found in labels] == [classes] * 5
    assert len(torch.cat(labels).unique()) == 20
    for number, task in enumerate(tasks):
        assert task["test"].column("task").unique().tolist() == [number]
        assert task["valid"].column("label").bincount(minlength=20).max() == 2


def test_a_picture_has_the_colour_and_the_shape_of_its_name() -> None:
    tasks = ShapeTasks(**SMALL, **PLAIN, size=96, seed=2).load()["tasks"]
    shares = {"square": (0.97, 1.0), "circle": (0.74, 0.82), "triangle": (0.45, 0.56), "cross": (0.54, 0.61)}
    names = tasks[0]["train"].info.class_names
    for task in tasks:
        rows = task["train"].rows()
        for image, label in zip(rows["image"], rows["label"].tolist(), strict=True):
            colour, shape = names[label].split()
            covered = image.sum(0) > 0
            assert torch.allclose(image[:, covered].mean(1), torch.tensor(COLOURS[colour]), atol=1e-5)
            box = covered[covered.any(1)][:, covered.any(0)].float()
            assert shares[shape][0] <= box.mean().item() <= shares[shape][1], names[label]
            assert ((box - box.flip(0)).abs().mean() > 0.2) == (shape == "triangle"), "it alone points somewhere"


def test_orders_are_the_seeds_and_domains_change_the_look_alone() -> None:
    first, again, other = (ShapeTasks(**SMALL, seed=seed).load()["tasks"] for seed in (3, 3, 4))
    assert torch.equal(first[0]["train"].column("image"), again[0]["train"].column("image"))
    assert not torch.equal(first[0]["train"].column("label").unique(), other[0]["train"].column("label").unique())
    domains = ShapeTasks(**SMALL, **PLAIN, increment="domains").load()["tasks"]
    corners = torch.stack([task["train"].column("image")[:, :, 0, 0].mean(0) for task in domains])
    assert (torch.pdist(corners) > 0.1).all(), "backgrounds differ from domain to domain"
    with pytest.raises(DataError, match="20 classes do not divide into 3"):
        ShapeTasks(tasks=3)
    assert len(ShapeTasks(**SMALL, tasks=3, increment="domains").load()["tasks"]) == 3
    assert len(SHAPES) * len(COLOURS) == 20
