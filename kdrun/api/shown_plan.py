"""What a plan found, shown as a table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from html import escape

from kdrun.config.experiment import Experiment
from kdrun.engine.plan import Plan, StagePlan
from kdrun.engine.session import Session
from kdrun.grammar.nodes import Graph
from kdrun.registry import catalog_with
from kdrun.report.plan_table import plan_lines, plan_table, plan_total
from kdrun.report.tables import html_table, text_table
from kdrun.runtime.process_state import restored_afterwards

__all__ = ["ShownPlan", "planned"]


@dataclass(frozen=True, repr=False, eq=False)
class ShownPlan:
    """A plan: a row a stage. ``stored`` are the keys of the stages whose result the store holds already."""

    plan: Plan
    stored: Collection[str]

    @property
    def stages(self) -> tuple[StagePlan, ...]:
        """What is known of each stage before it runs, in order of execution."""
        return self.plan.stages

    def __str__(self) -> str:
        table = text_table(*plan_table(self.plan, self.stored.__contains__))
        return "\n".join([table, *plan_lines(self.plan), plan_total(self.plan)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "".join(f"<div>{escape(line)}</div>" for line in [*plan_lines(self.plan), plan_total(self.plan)])
        return html_table(*plan_table(self.plan, self.stored.__contains__)) + lines


def planned(experiment: Experiment, graph: Graph, plugins: Collection[str]) -> ShownPlan:
    """Plan an experiment whose graph is checked. Raises ``InputError``, with file and line."""
    with catalog_with(plugins), restored_afterwards():
        session = Session(experiment, graph=graph)
        plan = session.plan()
        return ShownPlan(plan, {stage.key for stage in plan.stages if session.store.contains(stage.key)})
