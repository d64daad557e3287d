"""The engine: what is recomputed, what survives a crash, what a corrupt file does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kdrun.grammar.nodes import Ref
from kdrun.graph.check import check
from kdrun.graph.keys import Keys
from kdrun.runtime.checkpoints import flatten, unflatten
from kdrun.runtime.progress import Reporter

QUICK = ("epochs=1", "data.limit=128")


class Listener(Reporter):
    """Remembers what the engine did."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        self.said: list[str] = []

    def stage_finished(self, name: str, seconds: float) -> None:
        self.computed.append(name)

    def message(self, text: str) -> None:
        self.said.append(text)


def run(session, *overrides: str, recipe: str = "kd") -> Listener:
    ready = session(recipe, *overrides)
    ready.executor.reporter = listener = Listener()
    ready.run()
    return listener


CHAIN = """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}]
graph:
  start: {op: standard_normal, from: [shape]}
  shape: {op: constant, shape: [4]}
  chain: {foreach: {turn: 30, carry: {value: start}}, do: {value: {op: scale, from: [value.before], by: 0.9}}}
  end: {stage: measure, from: {value: chain.last}, metrics: [{metric: mean_value, from: [value], name: mean}]}
"""


def test_a_value_is_let_go_after_its_last_use(session, tmp_path) -> None:
    (tmp_path / "chain.yaml").write_text(CHAIN)
    ready = session("chain.yaml")
    held: list[int] = []

    class Counting(Reporter):
        def stage_finished(self, name: str, seconds: float) -> None:
            held.append(len(ready.executor._results))

    ready.executor.reporter = Counting()
    first = ready.run()
    assert len(held) == 33
    assert max(held) <= 2, "the value at hand and the one before"
    assert session("chain.yaml").run().metrics == first.metrics


def test_stored_results_pull_nothing_that_lies_before_them(session, tmp_path) -> None:
    import shutil

    (tmp_path / "chain.yaml").write_text(CHAIN)
    ready = session("chain.yaml")
    ready.run()
    for name in ("start", "chain[3].value"):  # gone, but what was made of them is there
        shutil.rmtree(ready.store._folder(ready.keys[name]))
    again = session("chain.yaml", "end.metrics=[{metric: minimum, from: [value], name: least}]")
    assert again.run().counts == {"computed": 1, "cached": 1}


def test_nothing_is_computed_twice(session) -> None:
    assert run(session, *QUICK).computed == ["fit_teacher", "teacher_test", "fit_student", "valid", "test"]
    assert run(session, *QUICK).computed == []


def test_a_teacher_is_shared_and_only_what_depends_on_a_knob_is_recomputed(session) -> None:
    run(session, *QUICK)
    assert run(session, *QUICK, "transfer.temperature=2").computed == ["fit_student", "valid", "test"]
    assert run(session, *QUICK, "graph.test.metrics=[accuracy]").computed == ["test"]
    assert "fit_teacher" in run(session, *QUICK, "seed=1").computed


def test_results_do_not_depend_on_what_was_cached(session, tmp_path) -> None:
    first = session("kd", *QUICK)
    run(session, *QUICK, "transfer=none")
    metrics = first.run().metrics
    other = session("kd", *QUICK, f"store={tmp_path / 'fresh'}")
    assert other.run().metrics == metrics


@pytest.mark.parametrize(("change", "again"), [("factor = 2.0", True), ("# another remark", False)])
def test_changing_an_op_recomputes_exactly_the_stages_that_use_it(session, tmp_path, change, again) -> None:
    plugin = tmp_path / "mine.py"
    source = "from kdrun.registry import op\n\n@op\ndef scaled(x):\n    'Scale.'\n    factor = 1.0\n    # a remark\n    return x * factor\n"
    plugin.write_text(source)
    use = [
        f"plugins=[{plugin}]",
        "+graph.fit_student.step.nodes.twice={op: scaled, from: [ce]}",
        "+graph.fit_student.step.minimize.twice=0.1",
    ]
    run(session, *QUICK, *use)
    old = "factor = 1.0" if again else "# a remark"
    plugin.write_text(source.replace(old, change))
    assert run(session, *QUICK, *use).computed == (["fit_student", "valid", "test"] if again else [])


def test_a_corrupt_file_is_found_said_and_recomputed(session, tmp_path) -> None:
    ready = session("kd", *QUICK)
    before = ready.run().metrics
    folder = ready.store._folder(ready.keys["fit_student"])
    weights = max(folder.glob("*.safetensors"), key=lambda p: p.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    ready.store.discard(ready.keys["test"])
    listener = run(session, *QUICK)
    assert listener.computed == ["fit_student", "test"]
    assert any("is corrupt (checksum" in text for text in listener.said)
    assert session("kd", *QUICK).run().metrics == before


def test_resuming_from_a_checkpoint_ends_with_the_same_bytes(session, tmp_path, interrupted) -> None:
    overrides = ("transfer=norm_direction", "epochs=2", "data.limit=320", "optimizer=adam")
    undisturbed = session("kd", *overrides)
    metrics = undisturbed.run().metrics
    expected = undisturbed.executor.value(Ref("fit_student")).state
    log = undisturbed.store.read(undisturbed.keys["fit_student"])["log"].rows
    broken = session("kd", *overrides, f"store={tmp_path / 'other'}", "checkpoint_seconds=0")
    broken.executor.result("fit_teacher")
    with interrupted(7):
        broken.run()
    again = session("kd", *overrides, f"store={tmp_path / 'other'}")
    again.executor.reporter = listener = Listener()
    assert again.run().metrics == metrics
    assert "fit_student: resumed at step 7" in listener.said
    for name, value in again.executor.value(Ref("fit_student")).state.items():
        assert torch.equal(value, expected[name]), name
    assert again.store.read(again.keys["fit_student"])["log"].rows == log


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_optimizer_state_survives_flattening(name) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        options = {"momentum": 0.9} if name != "Adam" else {}
        return layer, getattr(torch.optim, name)(layer.parameters(), lr=0.1, **options)

    def steps(layer, optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()

    first, first_optimizer = make()
    steps(first, first_optimizer, 5)
    second, second_optimizer = make()
    steps(second, second_optimizer, 2)
    import json

    tensors, meta = flatten({"model": second.state_dict(), "optimizer": second_optimizer.state_dict()})
    state = unflatten({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(meta)))
    third, third_optimizer = make()
    third.load_state_dict(state["model"])
    third_optimizer.load_state_dict(state["optimizer"])
    steps(third, third_optimizer, 3)
    assert torch.equal(first.weight, third.weight)


def test_two_processes_compute_a_stage_once(tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "kdrun",
        "run",
        "kd",
        f"store={tmp_path / 'store'}",
        f"runs={tmp_path / 'runs'}",
        *QUICK,
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate(timeout=120)[0] for p in both]
    counts = [int(text.rsplit("stages computed: ", 1)[1].split(",")[0]) for text in said]
    assert sum(counts) == 5
    assert [line for line in said[0].splitlines() if "accuracy" in line] == [
        line for line in said[1].splitlines() if "accuracy" in line
    ]


def test_data_made_by_a_stage_come_back_from_the_store(session, tmp_path) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}]
graph:
  some: {stage: select, by: random_rows, from: [data.train], k: 100, balance: label}
  fit_teacher: {stage: train, from: {model: student, data: some, optimizer: optimizer}, step: supervised, epochs: 1}
  answered: {stage: label, by: model_answer, from: [fit_teacher, some]}
  fit_student: {stage: train, from: {model: student, data: answered, optimizer: optimizer}, step: supervised, epochs: 1}
  test: {stage: evaluate, from: [fit_student, data.test], metrics: [accuracy]}
"""
    )
    first = session(str(recipe))
    metrics = first.run().metrics
    chosen = first.executor.value(Ref("some")).rows()
    assert torch.bincount(chosen["label"]).tolist() == [10] * 10
    again = session(str(recipe))
    again.store.discard(again.keys["test"])
    again.store.discard(again.keys["fit_student"])
    assert again.run().metrics == metrics


def table(text: str) -> str:
    return text.split("\nreport:")[0]


@pytest.mark.slow
def test_killed_at_random_moments_the_rerun_gives_the_same_table(tmp_path) -> None:
    """Kill -9 of the whole process group, again and again; then the same bytes as an undisturbed run."""
    common = ["scale=smoke", "seeds=2", f"runs={tmp_path / 'runs'}", "checkpoint_seconds=0", "epochs=3"]

    def command(store: str) -> list[str]:
        return [sys.executable, "-m", "kdrun", "reproduce", "kd", *common, f"store={tmp_path / store}"]

    expected = table(subprocess.run(command("calm"), capture_output=True, text=True, check=True).stdout)
    chance = random.Random(0)
    for attempt in range(3):
        store = f"store{attempt}"
        for _ in range(3):
            process = subprocess.Popen(
                command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(chance.uniform(1.5, 9.0))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert table(subprocess.run(command(store), capture_output=True, text=True, check=True).stdout) == expected


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(session, tmp_path, monkeypatch) -> None:
    import errno

    from kdrun.errors import StoreError
    from kdrun.runtime import files

    ready = session("kd", "transfer=none", *QUICK)
    ready.prepare()

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(StoreError, match=r"is full: free some space, or set store=FOLDER or KDRUN_STORE"):
        ready.run()
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert list((tmp_path / "store" / "objects").rglob("manifest.json")) == []


def test_the_seed_of_data_is_part_of_its_key() -> None:
    config = {
        "data": {"data": "glyphs", "per_class": 2, "seed": 1},
        "graph": {"counts": {"stage": "reduce", "by": "class_counts", "from": ["data.train"]}},
    }
    keys = [
        Keys(check({**config, "data": {**config["data"], "seed": s}}), seed=0, hardware={})["counts"] for s in (1, 1, 2)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_long_chain_is_sorted_keyed_and_planned_without_nesting_calls(session, tmp_path) -> None:
    (tmp_path / "chain.yaml").write_text(CHAIN.replace("turn: 30", "turn: 1500"))
    ready = session("chain.yaml")
    assert len(ready.plan().stages) == 1503
