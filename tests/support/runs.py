"""Runs of a session, with what the engine did and what it trained."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kdrun.grammar.nodes import Ref
from kdrun.runtime.artifacts import Model
from kdrun.runtime.progress import Reporter

__all__ = ["Listener", "run", "trained"]


class Listener(Reporter):
    """Remembers what the engine did."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        self.said: list[str] = []

    def stage_finished(self, name: str, seconds: float) -> None:
        self.computed.append(name)

    def message(self, text: str) -> None:
        self.said.append(text)


def run(session: Any, *overrides: str, recipe: str = "kd") -> Listener:
    """Run a recipe with overrides, and listen."""
    ready = session(recipe, *overrides)
    ready.executor.reporter = listener = Listener()
    ready.run()
    return listener


def trained(ready: Any, stage: str = "fit_student", field: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Run a session, and give the weights that the stage ends with."""
    ready.run()
    model = ready.executor.value(Ref(stage, field))
    assert isinstance(model, Model)
    return dict(model.state)
