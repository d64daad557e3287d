"""Frozen models whose answers to augmented rows are shared: the same bytes, fewer questions, and not where they would differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdrun.grammar.steps import parse_step
from kdrun.models.building import build
from kdrun.models.taps import place_of
from kdrun.runtime.answers import Shelf
from kdrun.step.remembered import TRIALS
from kdrun.step.shared import Shared, identity

AUGMENTED = "+data.augment=[{transform: random_crop, padding: 1}]"
BATCHES = [torch.randn(4, 3) for _ in range(8)]


class Counting(nn.Module):
    """A module that counts outside of its buffers how often it is asked."""

    def __init__(self, function=torch.tanh) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.function, self.calls = function, 0

    def forward(self, value: Tensor) -> Tensor:
        self.calls += 1
        return self.function(value)


def shared(module: nn.Module, shelf: Shelf, name: str = "one") -> Shared:
    return Shared(module, lambda *inputs: [module(*inputs)], lambda: name, shelf)


def test_what_one_run_asked_another_reads(tmp_path) -> None:
    shelf, first, second = Shelf(tmp_path, 1e6), Counting(), Counting()
    for module, calls in ((first, len(BATCHES)), (second, TRIALS)):
        asking = shared(module, shelf)
        for batch in BATCHES:
            assert torch.equal(asking(batch)[0], torch.tanh(batch))
        assert module.calls == calls


def test_who_taps_less_reads_what_one_who_taps_more_has_asked(tmp_path) -> None:
    shelf, more, less = Shelf(tmp_path, 1e6), Counting(), Counting()
    for batch in BATCHES:
        Shared(more, lambda v: [more(v), v + 1, v + 2], lambda: "one", shelf, ["a", "b"])(batch)
    asking = Shared(less, lambda v: [less(v), v + 2], lambda: "one", shelf, ["b"])
    for batch in BATCHES:
        found = asking(batch)
        assert torch.equal(found[0], torch.tanh(batch))
        assert torch.equal(found[1], batch + 2)
    assert less.calls == TRIALS
    other = Counting()
    asking = Shared(other, lambda v: [other(v), v + 3], lambda: "one", shelf, ["c"])
    for batch in BATCHES:
        assert torch.equal(asking(batch)[1], batch + 3)
    assert other.calls == len(BATCHES)


def test_other_rows_types_and_strides_are_asked_anew(tmp_path) -> None:
    module = Counting()
    asking = shared(module, Shelf(tmp_path, 1e6))
    rows = torch.arange(9.0).reshape(3, 3)
    for batch in (
        rows,
        rows.t(),
        rows.t().contiguous(),
        rows.double(),
        rows.view(9, 1),
        torch.nextafter(rows, rows + 1),
    ):
        assert torch.equal(asking(batch)[0], torch.tanh(batch))
    assert module.calls == 6


def drawing(value: Tensor) -> Tensor:
    return value + torch.rand(())


def growing(module: Counting):
    def function(value: Tensor) -> Tensor:
        module.seen += 1
        return value + module.seen

    return function


@pytest.mark.parametrize("kind", ["draws", "counts", "gap", "no_tensor", "room"])
def test_whose_answers_cannot_be_kept_is_asked_every_time(tmp_path, kind) -> None:
    shelf = Shelf(tmp_path, 1000 if kind == "room" else 1e6, batches=len(BATCHES) if kind != "room" else 1000)
    module = Counting(
        {"draws": drawing, "gap": lambda v: v[:, :2], "no_tensor": lambda v: {"a": v}}.get(kind, torch.tanh)
    )
    if kind == "counts":
        module.function = growing(module)
    asking = shared(module, shelf)
    for _ in range(2):
        for batch in BATCHES:
            asking(batch)
    assert module.calls == 2 * len(BATCHES)
    assert not asking.useful


def test_an_answer_that_is_no_longer_given_ends_the_sharing(tmp_path) -> None:
    shelf = Shelf(tmp_path, 1e6)
    before, after = Counting(), Counting(torch.sigmoid)
    for batch in BATCHES:
        shared(before, shelf)(batch)
    asking = shared(after, shelf)
    for batch in BATCHES:
        assert torch.equal(asking(batch)[0], torch.sigmoid(batch))
    assert not asking.useful


def test_a_store_that_cannot_be_written_is_done_without(tmp_path) -> None:
    (tmp_path / "file").touch()
    asking = shared(Counting(), Shelf(tmp_path / "file", 1e6))
    assert torch.equal(asking(BATCHES[0])[0], torch.tanh(BATCHES[0]))


def call(**words):
    nodes = {"t": {"call": "teacher", "from": ["batch.image"], **words}}
    return parse_step({"nodes": nodes}, key="step").nodes["t"]


def test_a_call_is_named_by_weights_settings_and_numerics() -> None:
    spec = {"model": "mlp", "hidden": [4], "num_classes": 3, "in_features": 4}
    one, other = build(spec, seed=(1,)), build(spec, seed=(2,))
    plain = identity(one, call(), {"threads": 1})
    assert plain == identity(build(spec, seed=(1,)), call(), {"threads": 1})
    different = [
        identity(other, call(), {"threads": 1}),
        identity(one, call(), {"threads": 2}),
        identity(one, call(detach=True), {"threads": 1}),
    ]
    assert len({plain, *different}) == 4
    assert plain == identity(one, call(taps={"f": "feature"}), {"threads": 1})  # they are kept apart


def taught(session, *changes: str) -> dict[str, Tensor]:
    run = session("kd", "data.limit=256", "epochs=4", "teacher_epochs=1", AUGMENTED, *changes)
    run.run()
    return run.executor.result("fit_student")["student"].state


@pytest.mark.parametrize("method", ["kd", "attention"])
def test_the_second_method_asks_no_teacher_and_ends_with_the_same_bytes(session, tmp_path, asked, method) -> None:
    taught(session, f"transfer={method}", "transfer.temperature=2.0", "epochs=4")
    first = len(asked)
    assert first == 4 * 256 // 64
    found = taught(session, f"transfer={method}")
    assert len(asked) == first + TRIALS
    alone = taught(session, f"transfer={method}", "hardware.share_gib=0.0", f"store={tmp_path / 'alone'}")
    for name, value in alone.items():
        assert torch.equal(value, found[name]), name


def test_two_names_of_one_tap_are_one_place() -> None:
    spec = {"model": "cifar_resnet", "depth": 8, "widen": 1, "num_classes": 5, "in_channels": 3}
    module = build(spec, seed=(0,))
    places = {path: place_of(module, path) for path in ("map", "map_3", "levels.2", "map_2", "feature", "head")}
    assert places["map"] == places["map_3"] == places["levels.2"]
    assert len(set(places.values())) == 4
