"""A finished run: its figures, tables, models, and any value of its graph, read from the store when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.api.frames import OnDemand, data_frame
from kdrun.engine.reached import Reached
from kdrun.engine.session import Outcome, Session
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.nodes import SOURCES, Ref
from kdrun.graph.types import fields_of_node
from kdrun.models.building import restored
from kdrun.registry import catalog_with
from kdrun.report.tables import html_table, number, text_table
from kdrun.runtime.artifacts import Model

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

__all__ = ["Run"]


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """What one run gave. ``records`` is the folder of its records, if it was to keep any."""

    session: Session
    outcome: Outcome
    records: Path | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration of the run."""
        return self.session.config

    @property
    def metrics(self) -> dict[str, float]:
        """All figures of the wanted tables, such as ``test.accuracy``."""
        return dict(self.outcome.metrics)

    @property
    def objective(self) -> Reached | None:
        """The objective of the run with its ``value``; None if it has none."""
        return self.outcome.reached

    @property
    def curves(self) -> DataFrame:
        """The training logs, a row an epoch, with the stage's name in ``stage``."""
        return data_frame(self.outcome.curves)

    @property
    def tables(self) -> OnDemand[DataFrame]:
        """The wanted tables, by name."""
        return OnDemand(self._named("table", self.session.graph.targets), self.table, "table")

    @property
    def models(self) -> OnDemand[nn.Module]:
        """The models that the run made, by the name of their stage; those that it trains beside its main one with their role."""
        return OnDemand(self._named("model", [n.name for n in self.session.graph.stages()]), self.model, "model")

    def table(self, name: str) -> DataFrame:
        """Any table of the run: one of ``tables``, or a training log such as ``fit_student.log``."""
        rows = self.value(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"'{name}' is no table but {type(rows).__name__}: value({name!r}) gives it")
        return data_frame(rows)

    def model(self, name: str) -> nn.Module:
        """A model by its stage, or by stage and role (``fit_student.student``): a module on the CPU, in eval mode.

        Each call builds it anew: changing one changes nothing else.
        """
        value = self.value(name)
        if not isinstance(value, Model):
            raise InputError(f"'{name}' is no model but {type(value).__name__}: value({name!r}) gives it")
        with self._parts():
            return restored(value.spec, value.state)

    def value(self, name: str) -> Any:
        """The value of a node, or of a field of it, as ``from`` in a recipe would name it.

        Tensors are tensors (or a mapping of them), data is a data set with ``rows()`` and ``column(name)``, tables are lists
        of rows; a model is its specification and weights. Raises ``InputError`` for a name that the graph does not have, and
        for a result that the store no longer holds.
        """
        ref = self._ref(name)
        if not self._is_stored(ref.name):
            root = self.session.store.root
            raise InputError(f"the store {root} holds no result of '{ref.name}' any more: run it again")
        try:
            with self._parts():
                return self.session.executor.value(ref)
        except KdrunError as error:
            raise self.session.experiment.explain(error) from None
        except (LookupError, TypeError, ValueError) as error:
            if not ref.field:
                raise
            known = self._fields(ref.name)
            near = nearest(ref.field[0], known) or f"; it has: {', '.join(known) or 'none'}"
            raise InputError(f"'{ref.name}' has no field '{'.'.join(ref.field)}'{near}") from error
        finally:
            self.session.executor.forget()

    def _parts(self) -> AbstractContextManager[Any]:
        return catalog_with(self.session.config.get("plugins") or ())

    def _is_stored(self, node: str) -> bool:
        with self._parts():
            source = self.session.graph.nodes[node].verb in SOURCES
            return source or self.session.store.contains(self.session.keys[node])

    def _ref(self, name: str) -> Ref:
        """Node and field; a node's own name may have dots."""
        pieces = name.split(".")
        nodes = self.session.graph.nodes
        for cut in range(len(pieces), 0, -1):
            if (node := ".".join(pieces[:cut])) in nodes:
                return Ref(node, tuple(pieces[cut:]))
        known = nearest(pieces[0], nodes) or f"; it has: {', '.join(nodes)}"
        raise InputError(f"this run has no node '{pieces[0]}'{known}")

    def _fields(self, name: str) -> list[str]:
        """The fields of a stage's result, or the splits of data."""
        node = self.session.graph.nodes[name]
        if node.verb not in SOURCES:
            return [field for field in self.session.store.kinds(self.session.keys[name]) if field]
        return list(self.value(name)) if node.verb == "data" else []

    def _named(self, kind: str, stages: Iterable[str]) -> list[str]:
        """The names of stages' results of one kind: for a stage's main field, its own."""
        names: list[str] = []
        with self._parts():
            for stage in filter(self._is_stored, stages):
                main = fields_of_node(self.session.graph.nodes[stage]).main
                kinds = self.session.store.kinds(self.session.keys[stage])
                fields = sorted(
                    (field for field, found in kinds.items() if found == kind), key=lambda f: (f != main, f)
                )
                names += [stage if field in ("", main) else f"{stage}.{field}" for field in fields]
        return names

    def _rows(self) -> list[list[str]]:
        return [[name, number(value)] for name, value in sorted(self.metrics.items())]

    def _heading(self) -> str:
        experiment, counts = self.session.experiment, self.outcome.counts
        said = [
            experiment.recipe,
            *(f"{k} {v}" for k, v in (("scale", experiment.scale), ("arm", experiment.arm)) if v),
        ]
        seed = self.session.config.get("seed", 0)
        return (
            f"{', '.join(said)}, seed {seed}: {counts['computed']} stages computed, {counts['cached']} from the store"
        )

    def __str__(self) -> str:
        return f"{self._heading()}\n\n{text_table(['metric', 'value'], self._rows())}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<div>{self._heading()}</div>" + html_table(["metric", "value"], self._rows())
