"""Answers of frozen models in files: given back bit by bit, to every process, and never damaged ones."""

from __future__ import annotations

import os
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrun.runtime.answers import HEADER, Shelf, is_dense

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool, torch.uint8]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def told(value: torch.Tensor) -> tuple:
    """Type, shape, the strides that matter, and bits."""
    strides = [stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1]
    return value.dtype, value.shape, strides, value.contiguous().reshape(-1).view(torch.uint8).tolist()


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dtype=st.sampled_from(DTYPES),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_tensors_come_back_with_their_bits_and_strides(tmp_path_factory, shape, dtype, order) -> None:
    dims = list(range(len(shape)))
    order.shuffle(dims)
    value = torch.randn([shape[d] for d in dims]).mul(3).to(dtype).permute([dims.index(d) for d in range(len(shape))])
    assert is_dense(value)
    answers = Shelf(tmp_path_factory.mktemp("store"), 1e6).of("one")
    answers.put(key(1), value)
    answers.put(key(2), torch.tensor([float("nan"), -0.0]))
    assert told(answers.get(key(1))) == told(value)
    special = answers.get(key(2))
    assert special.isnan().tolist() == [True, False]
    assert torch.signbit(special[1])


def test_views_with_gaps_are_not_dense() -> None:
    assert not is_dense(torch.randn(4, 4)[:, :2])
    assert not is_dense(torch.randn(1, 4).expand(3, 4))
    assert is_dense(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))


def test_another_process_finds_them_and_what_is_added_later(tmp_path) -> None:
    shelf = Shelf(tmp_path, 1e6)
    one, other = shelf.of("same"), shelf.of("same")
    one.put(key(1), torch.ones(3))
    assert torch.equal(other.get(key(1)), torch.ones(3))
    one.put(key(2), torch.zeros(2))
    time.sleep(0.25)
    assert torch.equal(other.get(key(2)), torch.zeros(2))
    assert shelf.of("another").get(key(1)) is None


@pytest.mark.parametrize("at", [3, 10, 25, 60, -2])
def test_a_damaged_entry_is_not_there(tmp_path, at) -> None:
    answers = Shelf(tmp_path, 1e6).of("one")
    for number in (1, 2):
        answers.put(key(number), torch.full((8,), float(number)))
    (file,) = (tmp_path / "answers" / "one").iterdir()
    raw = bytearray(file.read_bytes())
    raw[at if at >= 0 else len(raw) // 2 + at] ^= 0xFF  # in the first entry
    file.write_bytes(raw)
    found = Shelf(tmp_path, 1e6).of("one")
    assert found.get(key(1)) is None
    second = found.get(key(2))
    assert second is None or torch.equal(second, torch.full((8,), 2.0))


def test_an_entry_that_was_cut_off_hides_none_before_it(tmp_path) -> None:
    answers = Shelf(tmp_path, 1e6).of("one")
    for number in (1, 2):
        answers.put(key(number), torch.full((8,), float(number)))
    (file,) = (tmp_path / "answers" / "one").iterdir()
    os.truncate(file, file.stat().st_size - HEADER.size)
    found = Shelf(tmp_path, 1e6).of("one")
    assert torch.equal(found.get(key(1)), torch.full((8,), 1.0))
    assert found.get(key(2)) is None


def test_no_more_is_written_than_there_is_room_for(tmp_path) -> None:
    answers = Shelf(tmp_path, 2000).of("one")
    taken = [answers.put(key(n), torch.zeros(100)) for n in range(20)]
    assert taken[0]
    assert not taken[-1]
    (file,) = (tmp_path / "answers" / "one").iterdir()
    assert file.stat().st_size < 2000 + 600


def test_what_nobody_has_used_for_an_hour_makes_room_and_what_is_in_use_stays(tmp_path) -> None:
    shelf = Shelf(tmp_path, 3000)
    for name, hours in (("old", 2), ("recent", 0.5)):
        shelf.of(name).put(key(1), torch.zeros(250))
        then = time.time() - hours * 3600
        folder = tmp_path / "answers" / name
        for path in [*folder.iterdir(), folder]:
            os.utime(path, (then, then))
    new = shelf.of("new")
    assert sorted(p.name for p in (tmp_path / "answers").iterdir()) == ["new", "recent"]
    assert new.put(key(1), torch.zeros(10))
