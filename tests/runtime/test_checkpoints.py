"""States flattened for a checkpoint and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdrun.errors import StoreError
from kdrun.runtime.checkpoints import Checkpoints, flatten, unflatten


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_optimizer_state_survives_flattening(name) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        options = {"momentum": 0.9} if name != "Adam" else {}
        return layer, getattr(torch.optim, name)(layer.parameters(), lr=0.1, **options)

    def steps(layer, optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()

    first, first_optimizer = make()
    steps(first, first_optimizer, 5)
    second, second_optimizer = make()
    steps(second, second_optimizer, 2)
    import json

    tensors, meta = flatten({"model": second.state_dict(), "optimizer": second_optimizer.state_dict()})
    state = unflatten({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(meta)))
    third, third_optimizer = make()
    third.load_state_dict(state["model"])
    third_optimizer.load_state_dict(state["optimizer"])
    steps(third, third_optimizer, 3)
    assert torch.equal(first.weight, third.weight)


TENSORS = {"w": torch.arange(3.0)}


def saved(root: Path) -> Checkpoints:
    """Checkpoints at steps 1 and 2."""
    ready = Checkpoints(root, "key")
    for step in (1, 2):
        ready.save(step, TENSORS, {"step": step})
    return ready


@pytest.mark.parametrize("name", ["state.safetensors", "meta.json", "checksums.json"])
def test_a_checkpoint_with_any_flipped_byte_gives_way_to_the_one_before(tmp_path, name) -> None:
    folder = saved(tmp_path).folder / f"{2:012d}"
    content = (folder / name).read_bytes()
    for place in range(len(content)):
        saved(tmp_path)
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (folder / name).write_bytes(changed)
        told: list[str] = []
        step, tensors, meta = Checkpoints(tmp_path, "key", told.append).latest()
        assert (step, meta) == (1, {"step": 1})
        assert torch.equal(tensors["w"], TENSORS["w"])
        assert "the checkpoint 000000000002 of key" in told[0]


def test_checkpoints_of_another_stage_or_step_are_no_checkpoints(tmp_path) -> None:
    ready = saved(tmp_path)
    ready.folder.rename(tmp_path / "other")
    assert Checkpoints(tmp_path, "other").latest() is None
    (saved(tmp_path).folder / f"{2:012d}").rename(ready.folder / f"{3:012d}")
    assert ready.latest()[0] == 1


def test_damaged_checkpoints_do_not_push_out_good_ones(tmp_path) -> None:
    ready = saved(tmp_path)
    for step in (8, 9):
        (ready.folder / f"{step:012d}").mkdir()
    (ready.folder / f"{7:012d}").write_text("a file")
    assert ready.latest()[0] == 2
    ready.save(3, TENSORS, {"step": 3})
    assert sorted(p.name for p in ready.folder.iterdir()) == [f"{2:012d}", f"{3:012d}"]


def test_a_file_where_checkpoints_go_is_set_aside(tmp_path) -> None:
    (tmp_path / "key").write_text("")
    assert saved(tmp_path).latest()[0] == 2


@pytest.mark.parametrize(
    ("number", "told"), [(27, "cannot be written (File too large)"), (28, "is full"), (30, "cannot be written")]
)
def test_a_disk_that_refuses_inside_of_a_library_is_an_error_of_the_store(tmp_path, monkeypatch, number, told) -> None:
    import safetensors
    import safetensors.torch

    def refuse(*arguments) -> None:
        raise safetensors.SafetensorError(f"Error while serializing: I/O error: refused (os error {number})")

    monkeypatch.setattr(safetensors.torch, "save_file", refuse)
    with pytest.raises(StoreError) as refused:
        Checkpoints(tmp_path, "key").save(1, {"x": torch.zeros(2)}, {})
    assert told in str(refused.value)


def test_what_no_disk_refused_is_not_called_so(tmp_path, monkeypatch) -> None:
    import safetensors
    import safetensors.torch

    def refuse(*arguments) -> None:
        raise safetensors.SafetensorError("header too large")

    monkeypatch.setattr(safetensors.torch, "save_file", refuse)
    with pytest.raises(safetensors.SafetensorError):
        Checkpoints(tmp_path, "key").save(1, {"x": torch.zeros(2)}, {})
