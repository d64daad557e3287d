"""Engine overhead against a loop written by hand, in one process, in alternation.

    python scripts/benchmark_engine.py

For each student it times blocks of steps: hand-written, engine, hand-written, engine, ... and prints the
median of the paired ratios. Both run the same model, data, optimizer kernels and distillation loss, and end with the
same weights, which is checked. Then whole trainings from the first step on, against a loop with torch's defaults: no
fused optimizer, no channels-last, the teacher asked in every step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from kdrun.data.dataset import Column
from kdrun.grammar.steps import parse_step
from kdrun.models.building import build
from kdrun.optim.schedules import Progress
from kdrun.runtime.hardware import Hardware
from kdrun.step.compiler import Compiler
from kdrun.step.layout import Bindings
from kdrun.step.program import StepProgram
from kdrun.step.remembered import Lasting
from kdrun.step.supply import Supply
from kdrun.step.trace import trace
from kdrun.step.trainable import make_trainable

STEP = {
    "nodes": {
        "s": {"call": "student", "from": ["batch.image"]},
        "t": {"call": "teacher", "from": ["batch.image"], "grad": False},
        "ce": {"op": "cross_entropy", "from": ["s.logits", "batch.label"]},
        "kd": {
            "op": "kl_divergence",
            "from": ["s.logits", "t.logits"],
            "temperature": 4.0,
            "squared_temperature": True,
        },
    },
    "updates": {"main": {"minimize": {"ce": 0.1, "kd": 0.9}, "train": ["student"], "optimizer": "optimizer"}},
}
OPTIMIZER = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9}
CASES = {
    "30k parameters, 8x8, batch 64": (
        {
            "model": "cnn",
            "channels": [20, 40, 56],
            "kernel_size": 3,
            "num_classes": 10,
            "in_channels": 1,
            "image_size": 8,
        },
        (1, 8, 8),
    ),
    "ResNet-20, 32x32, batch 64": (
        {"model": "cifar_resnet", "depth": 20, "widen": 1, "num_classes": 10, "in_channels": 3},
        (3, 32, 32),
    ),
}


WHOLE = {
    "model": "cnn",
    "channels": [8, 16, 32],
    "kernel_size": 3,
    "num_classes": 62,
    "in_channels": 1,
    "image_size": 16,
}
TEACHER = {**WHOLE, "channels": [32, 64, 128]}


def models(spec: dict, teacher_spec: dict | None = None) -> tuple[nn.Module, nn.Module]:
    student, teacher = build(spec, seed=(0, "student")), build(teacher_spec or spec, seed=(0, "teacher"))
    return student.train(), teacher.eval().requires_grad_(False)


def engine(
    spec: dict, shape: tuple[int, ...], batches: list[dict], teacher_spec: dict | None = None
) -> tuple[Callable[[int], None], nn.Module]:
    """The engine's loop; as a train stage sets it up, where a teacher of its own is given."""
    student, teacher = models(spec, teacher_spec)
    lasting = {}
    if teacher_spec is not None:
        hardware = Hardware({"device": "cpu", "channels_last": True})
        student, teacher = hardware.prepare(student), hardware.prepare(teacher)
        rows = 64 * len(batches)
        lasting = {"data": Lasting(rows, rows, 64, 2.0**30)}
    step = parse_step(STEP, key="step")
    columns = {"image": Column(shape), "label": Column((), torch.int64)}
    found = trace(
        step,
        specs={"student": spec, "teacher": teacher_spec or spec},
        tensors={},
        columns={"data": columns},
        batch_size=8,
        sizes={},
    )
    bound = Bindings({"student": student, "teacher": teacher}, lasting=lasting)
    compiler = Compiler(Supply(step, bound, torch.Generator(), found.outputs))
    trainable = make_trainable(step.updates[0], {"student": student}, OPTIMIZER, {})
    program = StepProgram(step, compiler, {"main": trainable})

    def run(count: int) -> None:
        for i in range(count):
            program.run({"data": batches[i % len(batches)]}, Progress(i, count, 0, 1, count))
            if (i + 1) % 50 == 0:
                program.drain()

    return run, student


def by_hand(
    spec: dict, batches: list[dict], teacher_spec: dict | None = None
) -> tuple[Callable[[int], None], nn.Module]:
    student, teacher = models(spec, teacher_spec)
    fused = True if teacher_spec is None else None
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, fused=fused)

    def run(count: int) -> None:
        losses = []
        for i in range(count):
            image, label = batches[i % len(batches)]["image"], batches[i % len(batches)]["label"]
            logits = student(image)
            with torch.no_grad():
                target = teacher(image)
            log_student, log_teacher = F.log_softmax(logits / 4.0, 1), F.log_softmax(target / 4.0, 1)
            kd = 16.0 * (log_teacher.exp() * (log_teacher - log_student)).sum(1).mean()
            loss = 0.1 * F.cross_entropy(logits, label) + 0.9 * kd
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if (i + 1) % 50 == 0:
                torch.stack(losses).tolist()
                losses.clear()

    return run, student


def seconds(run: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=41, help="blocks of each kind")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a block")
    parser.add_argument("--trainings", type=int, default=5, help="pairs of whole trainings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (spec, shape) in CASES.items():
        torch.manual_seed(0)
        batches = [{"image": torch.randn(64, *shape), "label": torch.randint(0, 10, (64,))} for _ in range(16)]
        ours, our_student = engine(spec, shape, batches)
        theirs, their_student = by_hand(spec, batches)
        seconds(ours, 4), seconds(theirs, 4)
        count = max(4, int(4 * options.seconds / seconds(theirs, 4)))
        seconds(ours, 4)
        pairs = []
        for i in range(options.pairs):
            first = seconds(ours if i % 2 else theirs, count)
            second = seconds(theirs if i % 2 else ours, count)
            pairs.append((second, first) if i % 2 else (first, second))
        same = all(torch.equal(a, b) for a, b in zip(our_student.parameters(), their_student.parameters(), strict=True))
        ratios = sorted(b / a for a, b in pairs)
        step = statistics.median(a for a, _ in pairs) / count
        print(
            f"{name}: {step * 1e6:.0f} us a step by hand; engine / hand {statistics.median(ratios):.3f} "
            f"(from {ratios[0]:.3f} to {ratios[-1]:.3f}, {len(pairs)} pairs of {count} steps); weights equal: {same}"
        )
    whole(options.trainings)


def whole(repeats: int) -> None:
    """Trainings of 20 epochs of a small student by a teacher four times as wide, each from its first step on."""
    epochs, count = 20, 32
    torch.manual_seed(0)
    batches = [
        {"image": torch.randn(64, 1, 16, 16), "label": torch.randint(0, 62, (64,)), "index": torch.arange(i, i + 64)}
        for i in range(0, 64 * count, 64)
    ]
    ratios = []
    for _ in range(repeats):
        theirs = seconds(by_hand(WHOLE, batches, TEACHER)[0], epochs * count)
        ratios.append(seconds(engine(WHOLE, (1, 16, 16), batches, TEACHER)[0], epochs * count) / theirs)
    print(f"whole training, {epochs} epochs: engine / hand {statistics.median(ratios):.3f} ({repeats} pairs)")


if __name__ == "__main__":
    main()
