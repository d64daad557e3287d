"""What a run sets for the whole process is put back."""

from __future__ import annotations

import threading

import pytest
import torch

from kdrun.runtime.process_state import put_in_force, restored_afterwards


@pytest.fixture(autouse=True)
def _put_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


def test_threads_determinism_and_random_streams_are_as_before() -> None:
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    torch.manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))

    def broken_run() -> None:
        with restored_afterwards():
            put_in_force({"threads": 1, "deterministic": True})
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
            torch.rand(7)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_run()
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_what_one_run_set_does_not_stay_for_the_next() -> None:
    put_in_force({"threads": 1, "deterministic": True})
    put_in_force({"threads": 2})
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()


def test_blocks_of_two_threads_do_not_overlap() -> None:
    order: list[str] = []

    def other() -> None:
        with restored_afterwards():
            order.append("other")

    thread = threading.Thread(target=other)
    with restored_afterwards():
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
