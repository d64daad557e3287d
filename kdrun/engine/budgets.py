"""What an arm was given: rows, steps, FLOPs, parameters and answers of teachers, of the models that it is judged by."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdrun.claims.checking import sentence_of
from kdrun.engine.manifest import read_manifest
from kdrun.engine.sources import entry
from kdrun.errors import KdrunError
from kdrun.grammar.measurements import in_table
from kdrun.grammar.nodes import Node, Ref
from kdrun.graph.check import ENGINE_KEYS
from kdrun.graph.lineage import Lineage, by_role, frozen_calls, lineage_of, used_roles
from kdrun.graph.types import fields_of_node, part_of, value_type
from kdrun.runtime.artifacts import Data

if TYPE_CHECKING:
    from kdrun.engine.session import Session

__all__ = ["Budget", "budget_of", "judged_tables"]

Costs = Mapping[str, Mapping[str, Any]]
"""By stage that trains, its row of costs: FLOPs a row, rows of the data, rows seen, queries of black boxes."""


@dataclass(frozen=True)
class Budget:
    """Of the models that an arm is judged by: ``rows`` of the data sets they were trained on, each once; ``steps`` and ``epochs`` of it;
    ``flops`` of these steps, forward and backward, with what teachers say meanwhile; ``parameters`` deployed; ``asked``, how many rows
    models were asked about that were not trained by it, teachers and black boxes. None: not known.
    """

    rows: int | None
    steps: int
    epochs: float
    flops: float
    parameters: int | None
    asked: int | None


def judged_tables(config: Mapping[str, Any], arm: str | None, tables: Iterable[str]) -> dict[str, set[str] | None]:
    """The tables by which an arm is judged, with their columns: those of main claims, else of all claims or a leaderboard, else all tables."""
    tables = sorted(tables, key=len)
    claims = {name: claim for name, claim in (config.get("claims") or {}).items() if claim is not None}
    main = {name: claim for name, claim in claims.items() if claim.get("kind") == "main"}
    board = (config.get("leaderboard") or {}).get("metric")
    named = [[m for n, c in some.items() for m in sentence_of(n, c).metrics()] for some in (main, claims)]
    choices = [[m.path for m in named[0]], [m.path for m in named[1] if m.arm == arm], [str(board)] if board else []]
    for paths in choices:
        found: dict[str, set[str] | None] = {}
        for path in paths:
            table = next((t for t in reversed(tables) if in_table(path, t)), None)
            if table is not None:
                columns = found.setdefault(table, set())
                assert columns is not None
                columns.add(path.removeprefix(f"{table}."))
        if found:
            return found
    return dict.fromkeys(tables)


def budget_of(session: Session, costs: Costs) -> Budget | None:
    """The budget of a run that has ended; None where it deploys no model."""
    judged = judged_tables(session.config, session.experiment.arm, session.graph.targets)
    found = lineage_of(session.graph, judged)
    if not found.deployed:
        return None
    return _Counting(session, costs).budget(found)


@dataclass(frozen=True)
class _Counting:
    session: Session
    costs: Costs

    def budget(self, found: Lineage) -> Budget:
        known = [(node, self.costs[node.name]) for node in found.trained if node.name in self.costs]
        seen, own = (
            sum(c["rows_seen"] for _, c in known),
            sum(c["rows"] for c in {self._data(n): c for n, c in known}.values()),
        )
        return Budget(
            rows=self._rows({ref for node in found.trained for ref in self._learned(node)}),
            steps=sum(self._steps(node, cost) for node, cost in known),
            epochs=seen / own if own else 0.0,
            flops=float(sum(c["flops_per_row"] * c["rows_seen"] for _, c in known)),
            parameters=_sum(self._parameters(ref, inner) for ref, inner in found.deployed.items()),
            asked=self._asked(found, known),
        )

    def _inputs(self, node: Node, kind: str) -> list[Ref]:
        return [ref for ref in node.refs() if value_type(ref, self.session.graph, key=node.key) == kind]

    def _learned(self, node: Node) -> list[Ref]:
        """The data that some update of a training stage reads."""
        used = used_roles(node)
        return [r for role, r in by_role(node).items() if role in used and r in self._inputs(node, "data")]

    def _data(self, node: Node) -> tuple[str, tuple[str, ...]]:
        """What a stage trains on, the same for stages that train on the same."""
        ref = node.inputs["data"] if isinstance(node.inputs, dict) else None
        assert isinstance(ref, Ref)
        return self.session.keys[ref.name], ref.field

    def _steps(self, node: Node, cost: Mapping[str, Any]) -> int:
        if node.params.get("steps") is not None:
            return int(node.params["steps"])
        if node.params.get("refresh") or node.params.get("validate"):  # which may choose fewer rows, or end early
            return int(self.session.executor.rows(node.name, "log")[-1]["step"])
        rows, size = int(cost["rows"]), int(node.params.get("batch_size") or 64)
        per_epoch = rows // size if node.params.get("drop_last") else -(-rows // size)
        return per_epoch * int(node.params.get("epochs") or 0)

    def _asked(self, found: Lineage, known: list[tuple[Node, Mapping[str, Any]]]) -> int | None:
        """Rows shown to frozen models in steps, rows that stages had asked them about before, and queries of black boxes."""
        meanwhile = sum(round(frozen_calls(node) * cost["rows_seen"]) for node, cost in known)
        before = _sum(self._asked_by(self.session.graph.nodes[name], models) for name, models in found.asked.items())
        return None if before is None else meanwhile + before

    def _asked_by(self, node: Node, models: tuple[Ref, ...]) -> int | None:
        data = self._inputs(node, "data")
        rows = self._rows({data[0]}) if data else 0
        return None if rows is None else rows * len(models)

    def _rows(self, refs: set[Ref]) -> int | None:
        """How many rows data sets have together, those that are the same once."""
        distinct = {(self.session.keys[ref.name], ref.field): ref for ref in refs}
        return _sum(self._size(ref) for ref in distinct.values())

    def _size(self, ref: Ref) -> int | None:
        node = self.session.graph.nodes[ref.name]
        try:
            if node.verb == "data":
                own = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["data"]}
                size: int | None = entry(part_of(node).load()(**own).info(), ref.field).size
                return size
            name, _ = self._stored(ref)
            data = self.session.store.read(self.session.keys[ref.name], fields=[name])[name]
            assert isinstance(data, Data)
            return len(data.indices if data.indices is not None else next(iter(data.columns.values())))
        except (KdrunError, ImportError, OSError, LookupError, TypeError, ValueError):  # data that are no longer there
            return None

    def _parameters(self, ref: Ref, inner: frozenset[str]) -> int | None:
        node = self.session.graph.nodes[ref.name]
        try:
            own = {"model": node.part, **node.params} if node.verb == "model" else None
            spec = self._stored(ref)[1]["meta"]["spec"] if own is None else own
            return _count(
                json.dumps({k: v for k, v in spec.items() if k != "weights"}, sort_keys=True, default=str), inner
            )
        except (KdrunError, ImportError, LookupError, TypeError, ValueError):  # sizes that only its data tell
            return None

    def _stored(self, ref: Ref) -> tuple[str, Mapping[str, Any]]:
        """The field of a stage's stored result that a reference means, and what the store says of it."""
        fields = read_manifest(self.session.store.place(self.session.keys[ref.name])).fields
        paths = (".".join(ref.field[:cut]) for cut in range(len(ref.field), 0, -1))
        name = next((path for path in paths if path in fields), fields_of_node(self.session.graph.nodes[ref.name]).main)
        return name, fields[name]


def _sum(values: Iterable[int | None]) -> int | None:
    """None where one is not known."""
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


@functools.lru_cache(maxsize=256)
def _count(spec: str, inner: frozenset[str]) -> int:
    """The parameters of a model of this specification (JSON), or of these inner modules, built without memory."""
    from kdrun.models.taps import inner_module
    from kdrun.runtime.fakes import on_meta

    module = on_meta(json.loads(spec))
    parts = [inner_module(module, path) for path in sorted(inner)] or [module]
    return sum(p.numel() for p in {id(p): p for part in parts for p in part.parameters()}.values())
