"""Four methods under one teacher, on augmented rows: what sharing the teacher's answers saves, beside torchdistill.

    python scripts/bench/shared_teacher.py --rows 1024 --epochs 3 --seeds 1 --rounds 3

Students are ResNet-20, the teacher is ResNet-56, images are 32 by 32, cropped and mirrored by chance. Every figure is the CPU time
of one process with one thread, whole runs with their set-up, taken in turn; printed are medians over the rounds, and ratios.
Shared answers begin with an empty disk in each round: the first method asks the teacher, and its time is counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import kdrun
from kdrun.models.building import build, load_state
from kdrun.registry import catalog

METHODS = ("attention", "similarity", "standardized", "kd")
LOWERED = ("hardware.fold_frozen=true", "hardware.frozen_precision=bf16")
AUGMENT = "+data.augment=[{transform: random_crop, padding: 4}, {transform: random_horizontal_flip}]"


def settings(options: argparse.Namespace, store: Path, method: str, seed: int, share: float) -> list[str]:
    return [
        "data=glyphs",
        f"data={{size: 32, per_class: {options.rows // 62}, valid_per_class: 1, test_per_class: 1, teacher_per_class: 2}}",
        "teacher=cifar/resnet56",
        "student=cifar/resnet20",
        f"transfer={method}",
        AUGMENT,
        "optimizer={optimizer: sgd, lr: 0.05, momentum: 0.9, weight_decay: 5.0e-4, schedule: null}",
        f"batch_size={options.batch}",
        f"epochs={options.epochs}",
        "teacher_epochs=1",
        "fit_teacher.seed=0",
        f"seed={seed}",
        f"hardware.share_gib={share}",
        f"store={store}",
    ]


def in_kdrun(options: argparse.Namespace, made: Path, methods: tuple[str, ...], share: float, *more: str) -> float:
    """CPU seconds of all runs, in a store that holds the trained teacher and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        shutil.copytree(made, store)
        shutil.rmtree(store / "answers", ignore_errors=True)
        begun = time.process_time()
        for seed in range(1, options.seeds + 1):
            for method in methods:
                kdrun.run(kdrun.compose("distillation/kd", [*settings(options, store, method, seed, share), *more]))
        return time.process_time() - begun


def teacher_made(options: argparse.Namespace, store: Path) -> Any:
    """A run that leaves the teacher in the store."""
    quick = argparse.Namespace(**{**vars(options), "epochs": 1})
    return kdrun.run(kdrun.compose("distillation/kd", settings(quick, store, "kd", 0, 0.0)))


def rows_of(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows that kdrun trains on: images [rows, 1, 32, 32] and labels [rows]."""
    part = catalog().get("data", "glyphs").load()
    said = {
        "size": 32,
        "per_class": options.rows // 62,
        "valid_per_class": 1,
        "test_per_class": 1,
        "teacher_per_class": 2,
    }
    columns = part(**said).load()["train"].columns
    return columns["image"], columns["label"]


def in_torchdistill(options: argparse.Namespace, run: Any) -> float:
    """CPU seconds of the same runs by torchdistill, on the same rows and from the same teacher."""
    from torchdistill_runs import Rows, distil

    images, labels = rows_of(options)
    rows = Rows(images, labels)
    trained = run.model("fit_teacher")
    begun = time.process_time()
    for _ in range(options.seeds):
        for method in METHODS:
            student = build({**trained.kdrun_spec, "depth": 20}, seed=(1,)).train()
            teacher = build(trained.kdrun_spec, seed=(0,))
            load_state(teacher, trained.state_dict(), source="the teacher")
            distil(method, teacher.eval(), student, rows, epochs=options.epochs, batch_size=options.batch)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("rows", 1024), ("epochs", 3), ("seeds", 1), ("rounds", 3), ("batch", 64)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "store"
        run = teacher_made(options, made)
        measured: dict[str, Callable[[], float]] = {
            "students alone": lambda: in_kdrun(options, made, ("none",) * 1, 0.0) * len(METHODS),
            "kdrun, shared answers": lambda: in_kdrun(options, made, METHODS, 4.0),
            "the same, folded": lambda: in_kdrun(options, made, METHODS, 4.0, "hardware.fold_frozen=true"),
            "the same, bf16": lambda: in_kdrun(options, made, METHODS, 4.0, *LOWERED),
            "kdrun, each by itself": lambda: in_kdrun(options, made, METHODS, 0.0),
        }
        if importlib.util.find_spec("torchdistill"):
            measured["torchdistill 1.1.5"] = lambda: in_torchdistill(options, run)
        found: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(options.rounds):
            for name, measure in measured.items():
                found[name].append(measure())
    medians = {name: statistics.median(times) for name, times in found.items()}
    print(
        f"{options.rows} rows, {options.epochs} epochs, {len(METHODS)} methods x {options.seeds} seeds, torch {torch.__version__}"
    )
    for name, median in medians.items():
        spread = f"{min(found[name]):.1f} to {max(found[name]):.1f}"
        print(f"{name:24s} {median:8.1f} s CPU ({spread})  {median / medians['students alone']:.2f} x students alone")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
