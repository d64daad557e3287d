"""Views: the same bits in whatever batch, order, store and process, and other ones for every row and draw."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.transforms import mixup, random_crop, random_horizontal_flip, random_window
from kdrun.data.views import VIEW, drawn_views
from kdrun.errors import DataError, InputError
from support.data import dataset
from support.recipes import write_recipe

PICTURES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def flipped_and_cropped(pictures=PICTURES):
    moves = (
        lambda batch, g: random_crop(batch, padding=2, generator=g),
        lambda batch, g: random_horizontal_flip(batch, generator=g),
    )
    return dataset(5, image=pictures, label=torch.arange(5)).with_transforms(moves)


def whole(views) -> dict[str, torch.Tensor]:
    return next(iter(views.batches(len(views))))


def test_a_view_is_the_same_in_every_batch_and_order() -> None:
    views = drawn_views(flipped_and_cropped(), 3, seed=0)
    found, order = whole(views), torch.randperm(15, generator=torch.Generator().manual_seed(2))
    again = [batch["image"] for batch in views.batches(4, order=order)]
    assert torch.equal(torch.cat(again), found["image"][order])
    assert torch.equal(found["label"], torch.arange(5).repeat(3))
    chosen = views.select(torch.tensor([7, 2]))
    assert torch.equal(whole(chosen)["image"], found["image"][[7, 2]])


def test_draws_and_seeds_differ() -> None:
    first, other = (whole(drawn_views(flipped_and_cropped(), 2, seed=seed))["image"] for seed in (0, 1))
    assert not torch.equal(first[:5], first[5:])
    assert not torch.equal(first, other)


def test_a_view_is_what_its_transforms_make_of_the_row_alone() -> None:
    views = drawn_views(flipped_and_cropped(), 1, seed=0)
    seed = int(views.column(VIEW)[3])
    one = {"image": PICTURES[3:4]}
    generator = torch.Generator().manual_seed(seed)
    expected = random_horizontal_flip(random_crop(one, padding=2, generator=generator), generator=generator)
    assert torch.equal(whole(views)["image"][3:4], expected["image"])


def test_training_does_not_transform_views_again() -> None:
    assert flipped_and_cropped().random_transforms()
    assert not drawn_views(flipped_and_cropped(), 2, seed=0).random_transforms()


def test_what_cannot_be_a_view_is_told() -> None:
    with pytest.raises(InputError, match="nothing transforms it"):
        drawn_views(dataset(5, image=PICTURES), 2, seed=0)
    views = drawn_views(flipped_and_cropped(), 2, seed=0)
    with pytest.raises(InputError, match="views already"):
        drawn_views(views, 2, seed=0)
    rows = dataset(5, image=PICTURES, label=torch.arange(5))
    blended = rows.with_transforms((lambda batch, g: mixup(batch, generator=g),))
    with pytest.raises(DataError, match="blends several"):
        whole(drawn_views(blended, 2, seed=0))
    ragged = rows.with_transforms((lambda batch, g: random_window(batch, smallest=0.3, generator=g),))
    with pytest.raises(DataError, match="each row to another"):
        whole(drawn_views(ragged, 2, seed=0))


AUGMENTED = (
    "data.augment=[{transform: random_crop, padding: 1}, {transform: random_horizontal_flip}]",
    "data.limit=128",
)


def test_a_student_trains_on_stored_views_and_resumes_to_the_same_bytes(session) -> None:
    words = ("transfer=stored_views", "transfer.draws=2", "epochs=1", *AUGMENTED)
    ready = session("kd", *words)
    ready.run()
    (views,) = [ready.executor.value(ref) for ref in ready.graph.nodes["fit_student"].refs() if ref.name == "views"]
    assert len(views) == 2 * 128
    assert views.info.columns["answer_classes"].shape == (10,)
    teacher = ready.executor.value(next(r for r in ready.graph.nodes["views"].refs() if r.name == "fit_teacher"))
    assert teacher.state
    first = whole(views)["image"]
    ready.executor.forget()
    (again,) = [ready.executor.value(ref) for ref in ready.graph.nodes["fit_student"].refs() if ref.name == "views"]
    assert torch.equal(whole(again)["image"], first), "read from the store"


MISSING = """
graph:
  fit: {stage: train, from: {model: teacher, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  views: {stage: label, by: model_answer, from: [fit, data.train], draws: 3}
  test: {stage: evaluate, from: [fit, views], metrics: [accuracy]}
"""


def test_hard_labels_of_views_and_a_clear_word_where_nothing_is_augmented(kdrun, tmp_path) -> None:
    recipe = write_recipe(tmp_path, MISSING)
    answer = kdrun("run", recipe, "data.limit=64")
    assert answer.code == 2
    assert "nothing transforms it" in answer.err
    answer = kdrun("run", recipe, *AUGMENTED)
    assert answer.code == 0, answer.err
    assert "test.accuracy                    1.0000" in answer.out, (
        "the model agrees with itself on the very same views"
    )
