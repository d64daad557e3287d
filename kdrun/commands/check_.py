"""``kdrun check RECIPE``: static checks, with no heavy import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdrun.commands.arguments import chosen, parse, recipe_parser
from kdrun.config.experiment import Experiment
from kdrun.errors import KdrunError
from kdrun.graph.check import check
from kdrun.registry import catalog

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("check", "Check names, wiring, arguments, types and ranges of a recipe and all its arms.")
    options = parse(parser, arguments)
    composer, selection = chosen(options)
    composer.every_arm = selection.arm is None
    base = composer.compose(scale=selection.scale)
    arms: list[str | None] = [selection.arm] if selection.arm else list(base.config.get("arms") or {}) or [None]
    nodes: dict[str, list[str]] = {}
    for arm in arms:
        experiment = composer.compose(arm=arm, scale=selection.scale)
        try:
            catalog(experiment.config.get("plugins") or ())
            graph = check(experiment.config)
        except KdrunError as error:
            raise experiment.explain(error) from None
        if arm:
            nodes[arm] = [node.name for node in graph.stages()]
        print(f"{base.recipe}{f' [{arm}]' if arm else ''}: {len(graph.stages())} stages, all well")
    if selection.arm is None:
        _check_claims(base, nodes)
    return 0


def _check_claims(base: Experiment, nodes: Mapping[str, Sequence[str]]) -> None:
    from kdrun.claims import check_claims, check_measured
    from kdrun.report.leaderboard import check_leaderboard

    claims = base.claims
    try:
        if base.config.get("leaderboard") is not None:
            check_leaderboard(base.config["leaderboard"], list(nodes))
        check_claims(claims, list(nodes))
        check_measured(claims, nodes)
    except KdrunError as error:
        raise base.explain(error) from None
