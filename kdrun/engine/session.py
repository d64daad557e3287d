"""One run from a composed experiment: check, plan, execute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdrun.config.experiment import Experiment
from kdrun.engine.budgets import Budget, budget_of
from kdrun.engine.executor import Executor
from kdrun.engine.garbage import tidy
from kdrun.engine.reached import Reached, reached
from kdrun.engine.remote_store import store_of
from kdrun.engine.sources import Sources
from kdrun.errors import InputError, KdrunError, RunError
from kdrun.grammar.measurements import Measurements
from kdrun.grammar.nodes import Graph
from kdrun.graph.check import check
from kdrun.graph.keys import Keys
from kdrun.graph.types import fields_of_node, is_shown
from kdrun.registry import catalog
from kdrun.registry.blame import in_plugin, place_in_plugin
from kdrun.runtime.artifacts import Value
from kdrun.runtime.progress import Reporter

__all__ = ["Outcome", "Session", "explained"]


@dataclass(frozen=True)
class Outcome:
    """What one run gave: its numbers by label (``test.accuracy``), curves, and what it cost."""

    metrics: Measurements
    curves: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    reached: Reached | None = None
    """The objective that the configuration states, and its value."""
    budget: Budget | None = None
    """What the models were given that the run is judged by."""
    shown: dict[str, Any] = field(default_factory=dict)
    """By stage, what it gives to be shown on pages."""


class Session:
    """An experiment made ready: parts known, graph checked, keys computed, store opened.

    Raises ``InputError``, with file and line, for anything wrong in the configuration.
    """

    def __init__(
        self,
        experiment: Experiment,
        reporter: Reporter | None = None,
        *,
        graph: Graph | None = None,
        sources: Sources | None = None,
    ) -> None:
        """``graph``: what checking gave for the same configuration at another seed; ``sources``: data that other runs have loaded."""
        self.experiment = experiment
        self.config = experiment.config
        with explained(experiment):
            catalog(self.config.get("plugins") or ())
            self.graph: Graph = check(self.config) if graph is None else graph
            self.hardware: Mapping[str, Any] = self.config.get("hardware") or {}
            self.keys = Keys(self.graph, seed=_whole(self.config.get("seed", 0)), hardware=self.hardware)
            self.store = store_of(self.config)
        self.executor = Executor(
            self.graph,
            self.keys,
            self.store,
            self.hardware,
            self.config,
            reporter or Reporter(),
            float(self.config.get("checkpoint_seconds", 60)),
            sources if sources is not None else Sources(),
        )
        self._prepared = False

    def plan(self, known: Any = None) -> Any:
        """The shape pass over the whole graph; ``known``: stages of other runs planned before; see ``engine.plan``."""
        from kdrun.engine.plan import plan

        with explained(self.experiment):
            return plan(self.graph, self.keys, known)

    def prepare(self, *, planned: bool = False, known: Any = None) -> None:
        """Plan what the store does not hold yet, then make sure that the store can be written.

        Nothing is written before the plan has passed; ``planned``: it has, for this arm at another seed. Raises
        ``InputError`` or ``StoreError``.
        """
        if not self._prepared and not self.executor.finished():
            with explained(self.experiment):
                _ = self.executor.hardware
            if not planned:
                self.plan(known)
            self.store.prepare()
            tidy(self.store)
        self._prepared = True

    def run(self) -> Outcome:
        """Execute what the store does not hold yet; until then nobody tidies away what it does hold."""
        self.prepare()
        if self.executor.finished():
            self.store.leases.note(self.experiment.recipe, self.stage_keys())
            return self._run()
        with self.store.leases.held(self.experiment.recipe, self.stage_keys()):
            return self._run()

    def stage_keys(self) -> list[str]:
        """The keys of all stages of the graph."""
        return [self.keys[node.name] for node in self.graph.stages()]

    def _run(self) -> Outcome:
        with explained(self.experiment, RunError):
            tables = self.executor.run()
            metrics, curves = Measurements.of_tables(tables), self._curves()
            found = reached(self.config, metrics)
        counts, seconds = dict(self.executor.counts), dict(self.executor.seconds)
        costs = {name: rows[0] for name, rows in self._tables("cost").items()}
        return Outcome(
            metrics, curves, counts, seconds, self._costs(costs), found, budget_of(self, costs), self._shown()
        )

    def _costs(self, costs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """FLOPs of one epoch of every stage that trains, and under "" those of all training."""
        found = {name: row["flops_per_row"] * row["rows"] for name, row in costs.items()}
        whole = sum(row["flops_per_row"] * row["rows_seen"] for row in costs.values())
        return {**found, "": whole} if found else {}

    def _curves(self) -> list[dict[str, Any]]:
        """The log of every stage that trains, as rows with the stage's name and the columns that an epoch has."""
        return [
            {"stage": name, **{column: value for column, value in row.items() if value is not None}}
            for name, rows in self._tables("log").items()
            for row in rows
        ]

    def _shown(self) -> dict[str, Any]:
        """By stage, its field ``shown``: plain values that say how they are drawn (``kind``)."""
        found = {}
        for node in self.graph.stages():
            if is_shown(node):
                artifact = self.executor.result(node.name)["shown"]
                assert isinstance(artifact, Value)
                found[node.name] = artifact.value
        return found

    def _tables(self, field: str) -> dict[str, list[dict[str, Any]]]:
        """The rows of a table that stages of a kind give beside their value, by stage, of those in the store."""
        found = {}
        for node in self.graph.stages():
            key = self.keys[node.name]
            if fields_of_node(node).named.get(field) == "table" and self.store.contains(key):
                found[node.name] = self.executor.rows(node.name, field)
        return found


@contextlib.contextmanager
def explained(experiment: Experiment, kind: type[KdrunError] = InputError) -> Iterator[None]:
    """Let errors say the place in a file; those that code of a plug-in raises are of a ``kind``, and say the place in the plug-in."""
    try:
        yield
    except KdrunError as error:
        place = error.__cause__ and place_in_plugin(error.__cause__)
        if place and place != error.where:
            error.message += f" ({place})"
        raise experiment.explain(error) from None
    except Exception as error:
        if (plugins := in_plugin(error)) is None:
            raise
        raise kind(plugins[0], where=plugins[1]) from error


def _whole(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"a seed is a whole number, got {seed!r}", key="seed")
    return seed
