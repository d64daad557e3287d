"""What ends a trial early: the validation of a stage while it trains, compared with that of other trials at the same epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdrun.engine.studies import Curve
from kdrun.errors import InputError, Pruned
from kdrun.grammar.nodes import Graph, Node
from kdrun.grammar.validation import parse_validate
from kdrun.runtime.progress import Reporter

__all__ = ["Pruning", "pruning_of", "stage_of"]


class Pruning(Reporter):
    """Tells a study the scores of one stage; raises ``Pruned`` where the study says so."""

    def __init__(self, curve: Curve, stage: str, column: str, goal: str) -> None:
        """``column`` of the scores is told, turned round where less is better (``goal``) and the study goes the other way."""
        self.curve, self.stage, self.column = curve, stage, column
        self.sign = 1.0 if goal == curve.goal else -1.0

    def validated(self, name: str, epoch: int, scores: Mapping[str, float]) -> None:
        if (
            name == self.stage
            and self.column in scores
            and self.curve.falls_behind(epoch, self.sign * scores[self.column])
        ):
            raise Pruned(f"{name}: behind other trials after epoch {epoch}, {self.column} {scores[self.column]:.4f}")


def pruning_of(settings: Mapping[str, Any], graph: Graph) -> Pruning | None:
    """What a job is to be told, by the settings of its sweeper; None if it is no trial, or nothing of it is validated."""
    node = stage_of(settings, graph) if settings.get("trial") is not None else None
    if node is None or settings["pruner"] == "none" or len(settings.get("objectives") or ()) > 1:
        return None
    said = parse_validate(node.params["validate"], key=f"{node.key}.validate")
    assert said.objective is not None
    curve = Curve(Path(settings["study"]), int(settings["trial"]), str(settings["pruner"]))
    return Pruning(curve, node.name, f"{said.rows}.{said.objective.metric}", str(said.objective.goal))


def stage_of(settings: Mapping[str, Any], graph: Graph) -> Node | None:
    """The stage whose validation counts: that which ``prune_by`` names, else the last of the graph that validates with an objective.

    Raises ``InputError`` for a stage that does not.
    """
    stated = {node.name: node for node in graph.stages() if _says_objective(node)}
    named = settings.get("prune_by")
    if named is not None and named not in stated:
        raise InputError(
            f"'{named}' is no stage that validates with an objective; there are: {', '.join(stated) or 'none'}",
            key="hydra.sweeper.prune_by",
        )
    return stated[named] if named is not None else next(reversed(stated.values()), None)


def _says_objective(node: Node) -> bool:
    validate = node.params.get("validate")
    return isinstance(validate, Mapping) and validate.get("objective") is not None
