"""Calling what may hang: in a thread of its own, for as long as is borne."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Impatient", "TooLong"]


class TooLong(Exception):
    """A call has not come back in time; its thread is left to itself and ends with the process."""


class Impatient:
    """Does one call after another in one thread of its own. After one that took too long, none is taken any more.

    What a call raises is raised to the caller, an interrupt, too.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[
            tuple[Callable[[], Any], queue.SimpleQueue[tuple[Any, BaseException | None]]] | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (wanted := self._calls.get()) is not None:
            call, answer = wanted
            try:
                answer.put((call(), None))
            except BaseException as error:
                answer.put((None, error))

    def end(self) -> None:
        """Let the thread end after what it has been given; nothing more is taken."""
        self._calls.put(None)

    def call(self, function: Callable[[], Any], seconds: float) -> Any:
        """What the function gives. Raises what it raises, and ``TooLong``."""
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._calls.put((function, answer))
        try:
            value, error = answer.get(timeout=seconds)
        except queue.Empty:
            raise TooLong(f"no answer in {seconds:g} s") from None
        if error is not None:
            raise error
        return value
