"""A recipe composed, before anything runs: what it says, whether it is sound, what it would cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from kdrun.api.asked import merged
from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment, Selection
from kdrun.config.writing import yaml_text
from kdrun.errors import InputError, KdrunError
from kdrun.grammar.nodes import Graph
from kdrun.graph.check import check
from kdrun.graph.show import as_mermaid, as_svg, as_text, as_yaml
from kdrun.registry import catalog_with
from kdrun.report.tables import html_table, text_table

if TYPE_CHECKING:
    from kdrun.api.shown_plan import ShownPlan

__all__ = ["Composition"]

FORMS = {"text": as_text, "yaml": as_yaml, "mermaid": as_mermaid, "svg": as_svg}

CHOICES = ("teacher", "student", "data", "transfer", "optimizer", "hardware")
"""The groups that a summary names."""

DRAWN = 40
"""Graphs of more nodes are not drawn in a notebook unasked."""


@dataclass(frozen=True, repr=False, eq=False)
class Composition:
    """One run as it is configured: a recipe with its scale, its arm and the caller's changes.

    In a notebook it shows itself; ``print`` gives the same as text.
    """

    recipe: str
    selection: Selection
    experiment: Experiment

    @classmethod
    def of(cls, recipe: str, selection: Selection) -> Composition:
        """Raises ``InputError``, with file and line, for an unknown arm, scale, group, option or key."""
        if selection.seeds is not None:
            raise InputError("a run has one seed: seed=3; seeds= goes with kdrun.reproduce", key="seeds")
        composer = Composer.named(recipe, selection.overrides)
        experiment = composer.compose(arm=selection.arm, scale=selection.scale)
        return cls(recipe, selection, experiment)

    def changed(self, selection: Selection) -> Composition:
        """The same recipe with further changes."""
        return self if selection == Selection(()) else Composition.of(self.recipe, merged(self.selection, selection))

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration, resolved. Changing it changes nothing: compose again with overrides."""
        return self.experiment.config

    @property
    def plugins(self) -> tuple[str, ...]:
        """Files and packages that hold parts of the caller's own."""
        return tuple(self.config.get("plugins") or ())

    @cached_property
    def graph(self) -> Graph:
        """The checked run graph. Raises ``InputError``, with file and line, for what is wrong in it."""
        with catalog_with(self.plugins):
            try:
                return check(self.config)
            except KdrunError as error:
                raise self.experiment.explain(error) from None

    def check(self) -> Composition:
        """Check names, wiring, types and ranges, in milliseconds and without torch; return this composition.

        Raises ``InputError``, with file, line and the nearest right spelling.
        """
        _ = self.graph
        return self

    def plan(self) -> ShownPlan:
        """Shapes, gradients, parameters, FLOPs and keys, found on fake tensors: no data is read and nothing trained.

        Raises ``InputError`` for shapes that do not fit, parameters that no gradient reaches, and the like.
        """
        from kdrun.api.shown_plan import planned

        return planned(self.experiment, self.graph, self.plugins)

    def show(self, form: str = "text") -> str:
        """The run graph: ``text`` (a tree), ``yaml``, ``mermaid`` or ``svg``."""
        if form not in FORMS:
            raise InputError(f"a graph is shown as one of {', '.join(FORMS)}, got {form!r}")
        return FORMS[form](self.graph)

    def yaml(self) -> str:
        """The whole configuration as YAML."""
        return yaml_text(self.config)

    def summary(self) -> dict[str, str]:
        """The recipe, its scale and arm, what each group chose, and what the caller changed."""
        experiment = self.experiment
        rows: dict[str, Any] = {"recipe": experiment.recipe, "scale": experiment.scale, "arm": experiment.arm}
        rows |= {group: experiment.choices.get(group) for group in CHOICES}
        rows |= {"seed": self.config.get("seed"), "changed": " ".join(experiment.changes)}
        return {name: str(value) for name, value in rows.items() if value not in (None, "")}

    def __str__(self) -> str:
        return text_table(["", ""], list(self.summary().items())).split("\n", 2)[2]

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(["", ""], list(self.summary().items())) + self._drawing()

    def _drawing(self) -> str:
        """The graph, or what is wrong with it."""
        try:
            return as_svg(self.graph) if len(self.graph.nodes) <= DRAWN else ""
        except KdrunError as error:
            return f"<pre>{escape(str(error))}</pre>"
