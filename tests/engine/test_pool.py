"""What comes back from the worker processes of a sweep."""

from __future__ import annotations

import pickle

from kdrun.engine.pool import _sendable
from kdrun.errors import Diverged


class OfAPlugin(Diverged):
    """A class that the main process may not be able to import."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss became NaN at step {step}", key="fit_student", where="mine.yaml:3")


def test_an_error_comes_back_as_the_nearest_class_of_kdrun_with_its_place() -> None:
    found = pickle.loads(pickle.dumps(_sendable(OfAPlugin(7))))
    assert type(found) is Diverged
    assert str(found) == "mine.yaml:3: fit_student: the loss became NaN at step 7"
    assert (found.key, found.where, found.exit_code) == ("fit_student", "mine.yaml:3", 1)
