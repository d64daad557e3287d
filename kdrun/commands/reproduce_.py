"""``kdrun reproduce RECIPE [scale=...] [key=value ...]``: arms × seeds, verdicts, a report."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdrun.claims import check_claims, check_measured, claimed_metrics, judge_all
from kdrun.commands.arguments import chosen, parse, recipe_parser
from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment
from kdrun.config.layers import Override
from kdrun.engine.session import Outcome, Session, environment
from kdrun.engine.sweep import Job, run_all, workers_for
from kdrun.errors import InputError, KdrunError, RunError
from kdrun.grammar.nodes import Graph
from kdrun.report.leaderboard import check_leaderboard
from kdrun.runtime.progress import make_reporter

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("reproduce", "Run all arms of a recipe over several seeds and judge its claims.")
    parser.add_argument("--jobs", type=int, help="processes to use (default: processors / hardware.threads)")
    parser.add_argument("--arms", help="only these arms, comma-separated; arm=NAME for one")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if a claim is contradicted")
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    options = parse(parser, arguments)
    composer, selection = chosen(options)
    composer.every_arm = selection.arm is None
    scale = selection.scale or "small"
    base = composer.compose(scale=scale)
    wanted = options.arms or selection.arm
    arms = _arms(base, wanted)
    seeds = _seeds(selection.seeds, base)
    _refuse_one_method(base, selection.overrides)
    every_claim = base.claims
    claims = {} if wanted else every_claim
    try:
        check_claims(every_claim, list(base.config["arms"]))
        board = _board(base, options, arms)
    except KdrunError as error:
        raise base.explain(error) from None
    jobs = _jobs(composer, arms, seeds, scale)
    for text, without in composer.left_out.items():
        print(f"kdrun: {text} means nothing in arm {', '.join(without)}", file=sys.stderr)
    sessions = _sessions(jobs)
    try:
        check_measured(claims, {arm: [n.name for n in sessions[_label(arm, seeds[0])].graph.stages()] for arm in arms})
    except KdrunError as error:
        raise base.explain(error) from None
    outcomes, failures = _outcomes(jobs, sessions, options)
    if not outcomes:
        label, first = next(iter(failures.items()))
        raise RunError(f"all {len(jobs)} runs failed; the first is {label}: {first}")
    done = {arm: [seed for seed in seeds if _label(arm, seed) in outcomes] for arm in arms}
    results = {arm: {seed: outcomes[_label(arm, seed)].metrics for seed in found} for arm, found in done.items()}
    verdicts = _judged(base, claims, results)
    if scale == "smoke":
        verdicts = [replace(v, outcome="undecided", note="scale smoke only tries all arms") for v in verdicts]
    from kdrun.report.leaderboard import leaderboard
    from kdrun.report.tables import headline, text_table

    print(f"{base.recipe} at scale {scale}, seeds {', '.join(map(str, seeds))}\n")
    print(headline(results, verdicts, claimed_metrics(every_claim)))
    ranking = leaderboard(board, results, _costs(jobs, outcomes)) if board else None
    if ranking is not None:
        print("\n" + text_table(*ranking))
    folder = Path(base.config.get("runs") or "runs") / base.recipe.replace("/", "-") / f"reproduce-{scale}"
    page = _write(folder, base, jobs, outcomes, results, verdicts, scale, ranking)
    print(f"\nreport: {page}")
    if failures:
        for label, failure in failures.items():
            print(f"kdrun: {label} failed: {failure}", file=sys.stderr)
        return RunError.exit_code
    return 3 if options.strict and any(v.outcome == "contradicted" for v in verdicts) else 0


def _judged(base: Experiment, claims: Mapping[str, Any], results: Any) -> list[Any]:
    """The verdicts. A claim on what nothing measured is an error, told below what was measured."""
    try:
        return judge_all(claims, results)
    except KdrunError as error:
        from kdrun.report.tables import arm_table, text_table

        print(text_table(*arm_table(results)))
        raise base.explain(error) from None


def _refuse_one_method(base: Experiment, overrides: Sequence[Override]) -> None:
    """Where arms choose options of a group, the user's choice would make them one run."""
    for override in overrides:
        choosing = [name for name, arm in (base.config.get("arms") or {}).items() if override.path in (arm or {})]
        if isinstance(override.value, str) and override.path in base.choices and choosing:
            raise InputError(
                f"arms choose their own '{override.path}' ({', '.join(choosing[:4])}): with {override.key} all would be "
                f"one run; kdrun run {base.recipe} {override.key} runs it once"
            )


def _board(base: Experiment, options: Any, arms: Sequence[str]) -> dict[str, Any] | None:
    """The recipe's leaderboard, unless the arm that it compares with was left out."""
    content = base.config.get("leaderboard")
    if content is None:
        return None
    check_leaderboard(content, list(base.config.get("arms") or {}))
    return content if content["against"] in arms else None


def _costs(jobs: Sequence[Job], outcomes: Any) -> dict[str, dict[str, float]]:
    return {str(job.experiment.arm): outcomes[job.label].costs for job in jobs if job.label in outcomes}


def _label(arm: str, seed: int) -> str:
    return f"[{arm} seed {seed}]"


def _arms(base: Experiment, wanted: str | None) -> list[str]:
    arms = list(base.config.get("arms") or {})
    if not arms:
        raise InputError(f"recipe '{base.recipe}' has no arms: nothing to compare; use kdrun run", key="arms")
    if wanted is None:
        return arms
    chosen = wanted.split(",")
    for arm in chosen:
        if arm not in arms:
            from kdrun.errors import nearest

            raise InputError(
                f"recipe '{base.recipe}' has no arm '{arm}'{nearest(arm, arms)}; it has: {', '.join(arms)}"
            )
    return chosen


def _sessions(jobs: Sequence[Job]) -> dict[str, Session]:
    """A session a run; the graph is checked once for all seeds of an arm where it does not depend on them."""
    graphs: dict[int, Graph] = {}
    found = {}
    for job in jobs:
        label = id(job.experiment.config["graph"])
        found[job.label] = Session(job.experiment, graph=graphs.get(label))
        graphs[label] = found[job.label].graph
    return found


def _seeds(given: Any, base: Experiment) -> list[int]:
    """``seeds=5`` counts from the recipe's first seed; ``seeds=[3,7]`` names them."""
    value: Any = given if given is not None else base.config.get("seeds", 3)
    try:
        first = int(base.config.get("seed", 0))
        if any(isinstance(v, bool) or not isinstance(v, int) for v in (value if isinstance(value, list) else [value])):
            raise TypeError
        seeds = list(dict.fromkeys(value)) if isinstance(value, list) else list(range(first, first + value))
    except (ValueError, TypeError):
        raise InputError(f"seeds is a number or a list of numbers, got {given!r}", key="seeds") from None
    if not seeds:
        raise InputError("at least one seed is needed", key="seeds")
    return seeds


def _jobs(composer: Composer, arms: Sequence[str], seeds: Sequence[int], scale: str | None) -> list[Job]:
    """All runs, seed by seed, so that arms which share a teacher come close together."""
    return [Job(_label(arm, seed), e) for seed, row in composer.grid(arms, seeds, scale) for arm, e in row.items()]


def _outcomes(
    jobs: Sequence[Job], sessions: Mapping[str, Session], options: Any
) -> tuple[dict[str, Outcome], dict[str, KdrunError]]:
    unfinished = [job for job in jobs if not sessions[job.label].executor.finished()]
    stages = {s.keys[n.name] for s in sessions.values() for n in s.graph.stages()}
    missing = [k for k in stages if not next(iter(sessions.values())).store.contains(k)]
    reporter = make_reporter(quiet=options.quiet)
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, KdrunError] = {}
    try:
        if unfinished:
            first = {job.experiment.arm: sessions[job.label] for job in reversed(unfinished)}
            known: dict[str, Any] = {}
            for session in first.values():
                session.prepare(known=known)
            unfinished = [replace(job, planned=True) for job in unfinished]
            workers = workers_for(unfinished, options.jobs)
            reporter.message(
                f"{len(unfinished)} of {len(jobs)} runs to do, {len(missing)} of {len(stages)} stages, {workers} processes"
            )
            count = 0

            def done(job: Job, outcome: Outcome) -> None:
                nonlocal count
                count += 1
                reporter.message(f"{job.label} finished ({count}/{len(unfinished)})")

            outcomes, failures = run_all(unfinished, workers=workers, reporter=reporter, on_done=done)
        for job in jobs:
            if job.label not in outcomes and job.label not in failures:
                outcomes[job.label] = sessions[job.label].run()
    finally:
        reporter.close()
    return outcomes, failures


def _write(
    folder: Path,
    base: Experiment,
    jobs: Any,
    outcomes: Any,
    results: Any,
    verdicts: Any,
    scale: str | None,
    ranking: Any,
) -> Path:
    import dataclasses

    import yaml

    from kdrun.engine.session import write_record
    from kdrun.report.page import Page, write_page

    record = {
        "recipe": base.recipe,
        "scale": scale,
        "results": results,
        "verdicts": [dataclasses.asdict(v) for v in verdicts],
        "leaderboard": ranking,
    }
    write_record(folder / "results.json", record)
    write_record(folder / "environment.json", environment())
    write_record(folder / "config.yaml", yaml.safe_dump(base.config, sort_keys=False))
    curves: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for job in (j for j in jobs if j.label in outcomes):
        seed = int(job.experiment.config["seed"])
        curves.setdefault(str(job.experiment.arm), {})[seed] = outcomes[job.label].curves
    write_record(folder / "curves.json", curves)
    page = Page.of(base, scale=scale, results=results, verdicts=verdicts, curves=curves, ranking=ranking)
    path = folder / "report.html"
    write_page(path, page)
    if sys.stdout.isatty():
        path = path.resolve()
    return path
