"""``kdrun run RECIPE [key=value ...] [-m] [Hydra flags]``: one run, or a multirun through Hydra."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from kdrun.config.compose import Composer, from_hydra, hydra_errors, staged
from kdrun.config.paths import conf_dir, find_recipe
from kdrun.config.resolvers import register
from kdrun.engine.progress import make_reporter
from kdrun.errors import KdrunError

__all__ = ["main", "run_experiment"]

HELP = """usage: kdrun run RECIPE [key=value ...] [-m] [Hydra flags]

Runs a recipe once, or with -m (--multirun) once for each combination of comma-separated values:
  kdrun run kd student=cnn_tiny optimizer.lr=0.05 transfer.temperature=2
  kdrun run kd -m seed=0,1,2 transfer=kd,none

Hydra's flags work: --cfg job|hydra|all, --info, --resolve, --package, launchers by launcher=joblib,
tab completion: eval "$(kdrun -sc install=bash)". store=FOLDER chooses the store, runs=FOLDER the records."""


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0
    recipe = find_recipe(arguments[0])
    Composer(recipe).base()
    failures: list[KdrunError] = []
    ran = _hydra_main(recipe, list(arguments[1:]), failures)
    for error in failures:
        if ran > 1:
            continue
        raise error
    return max((e.exit_code for e in failures), default=0)


def _hydra_main(recipe: Any, rest: list[str], failures: list[KdrunError]) -> int:
    """Hand over to Hydra; returns how many jobs ran in this process."""
    import hydra

    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    jobs = 0

    def task(config: Any) -> float | None:
        nonlocal jobs
        from hydra.core.hydra_config import HydraConfig

        jobs += 1
        register()
        job = HydraConfig.get()
        multirun = str(job.mode).endswith("MULTIRUN")
        try:
            return _job(config, job, multirun)
        except KdrunError as error:
            failures.append(error)
            if multirun:
                print(f"kdrun: {' '.join(job.overrides.task)}: {error}", file=sys.stderr)
            return None

    with staged(recipe) as first:
        overrides = [a for a in rest if not a.startswith("-") and ("=" in a or a.startswith("~"))]
        flags = [a for a in rest if a not in overrides]
        sys.argv = ["kdrun run", *flags, *first, *overrides]
        decorated = hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(task)
        with hydra_errors(recipe):
            decorated()
    return jobs


def _job(config: Any, job: Any, multirun: bool) -> float | None:
    from omegaconf import OmegaConf

    full = OmegaConf.create({**{k: config._get_node(k) for k in config}, "hydra": job})
    experiment = from_hydra(full, job.runtime.choices["recipes"])
    label = f"[{' '.join(o for o in job.overrides.task if not o.startswith('recipes='))}] " if multirun else ""
    outcome = run_experiment(experiment, label=label)
    return next((v for k, v in outcome.metrics.items() if k.startswith("valid.")), None)


def run_experiment(experiment: Any, *, label: str = "") -> Any:
    """Run one experiment with records, trackers and progress; prints its metrics."""
    from kdrun.engine.session import RunFolder, Session, environment
    from kdrun.tracking import start_trackers

    reporter = make_reporter(label)
    try:
        session = Session(experiment, reporter)
        folder = RunFolder(
            experiment.config.get("runs") or "runs", experiment.recipe, f"seed{experiment.config.get('seed', 0)}"
        )
        session.prepare()
        reporter.tracker = start_trackers(experiment.config, folder.path)
        outcome = session.run()
        import yaml

        folder.write("config.yaml", yaml.safe_dump(experiment.config, sort_keys=False))
        folder.write("environment.json", environment())
        folder.write("keys.json", {n.name: session.keys[n.name] for n in session.graph.stages()})
        folder.write("curves.json", outcome.curves)
        folder.write(
            "result.json",
            {
                "recipe": experiment.recipe,
                "seed": experiment.config.get("seed", 0),
                "overrides": list(experiment.overrides),
                "metrics": outcome.metrics,
                "counts": outcome.counts,
                "seconds": outcome.seconds,
            },
        )
        if reporter.tracker is not None:
            reporter.tracker.finish(outcome.metrics)
    finally:
        reporter.close()
    from kdrun.report.tables import number

    for name, value in sorted(outcome.metrics.items()):
        print(f"{label}{name:<32} {number(value)}")
    print(
        f"{label}records: {folder.path}  (stages computed: {outcome.counts['computed']}, from the store: {outcome.counts['cached']})"
    )
    return outcome
