"""``kdrun check RECIPE``: static checks, with no heavy import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdrun.commands.arguments import chosen, parse, recipe_parser
from kdrun.commands.output import say
from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment
from kdrun.errors import KdrunError
from kdrun.grammar.nodes import Graph
from kdrun.graph.check import check
from kdrun.graph.columns import labels
from kdrun.registry import catalog

__all__ = ["check_statements", "main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("check", "Check names, wiring, arguments, types and ranges of a recipe and all its arms.")
    options = parse(parser, arguments)
    composer, selection = chosen(options)
    composer.every_arm = selection.arm is None
    base = composer.compose(scale=selection.scale)
    arms: list[str | None] = [selection.arm] if selection.arm else list(base.config.get("arms") or {}) or [None]
    found: dict[str, list[str]] = {}
    for arm in arms:
        graph = _checked(composer.compose(arm=arm, scale=selection.scale))
        if arm:
            found[arm] = labels(graph)
        say(f"{base.recipe}{f' [{arm}]' if arm else ''}: {len(graph.stages())} stages, all well")
    if selection.arm is None:
        _check_statements(composer, base, found)
    return 0


def check_statements(composer: Composer, base: Experiment, scale: str | None) -> None:
    """Raise ``InputError`` for a claim or a leaderboard that no results of the recipe's arms could decide."""
    arms = base.config.get("arms") or {}
    if base.claims or base.config.get("leaderboard") is not None:
        _check_statements(
            composer, base, {arm: labels(_checked(composer.compose(arm=arm, scale=scale))) for arm in arms}
        )


def _checked(experiment: Experiment) -> Graph:
    try:
        catalog(experiment.config.get("plugins") or ())
        return check(experiment.config)
    except KdrunError as error:
        raise experiment.explain(error) from None


def _check_statements(composer: Composer, base: Experiment, found: Mapping[str, Sequence[str]]) -> None:
    """``found``: the labels of what each arm will measure."""
    from kdrun.api.statements import check_decidable, check_stated
    from kdrun.api.tuning import checked_tuning

    check_decidable(base, base.claims, check_stated(composer, base), found, base.scale or "small")
    checked_tuning(composer, base)
