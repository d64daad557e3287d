"""The command line as a person meets it: mistakes, arms and scales everywhere, a quick start."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from kdrun.cli import no_interrupt_lost

MISTAKES = [
    (["rum", "kd"], "there is no command 'rum' (did you mean 'run'?)"),
    (["run", "kdd"], "no recipe is called 'kdd' (did you mean 'kd'?)"),
    (
        ["run", "kd", "studnt=cnn_tiny"],
        "'studnt' is no group, node or setting here (did you mean 'student'?)",
    ),
    (["run", "kd", "student=cnn_tny"], "student has no option 'cnn_tny' (did you mean 'cnn_tiny'?)"),
    (["run", "kd", "transfer.temprature=2"], "'transfer' has no key 'temprature' (did you mean 'temperature'?)"),
    (
        ["run", "kd", "transfer.temperature=-1"],
        "conf/transfer/distillation/kd.yaml:12: graph.fit_student.step.nodes.kd.temperature: -1 does not fit temperature: Positive (input should be greater than 0)",
    ),
    (["run", "kd", "student.channels=8"], "student.channels: 8 does not fit channels: list[Count]"),
    (["run", "kd", "+student.chanels=[8]"], "has no parameter 'chanels' (did you mean 'channels'?)"),
    (["run", "kd", "graph.test.metrics=[acuracy]"], "no metric is called 'acuracy' (did you mean 'accuracy'?)"),
    (["run", "kd", "student={name: ~/x}"], "cannot read the override 'student={name: ~/x}'"),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_studet,data.test]"],
        "there is no node 'fit_studet' (did you mean 'fit_student'?)",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student,data.tst]"],
        "'data' has no field 'tst' (did you mean 'test'?); it has: train, valid, test",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student]"],
        "stage 'evaluate' lacks its input 'data' (it takes, in this order: model, data)",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student,data.test,data.valid]"],
        "takes 2 inputs (model, data), got 3",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student,fit_student]"],
        "input 'data' of 'evaluate' takes a data, but 'fit_student' is a model",
    ),
    (["run", "kd", "graph.fit_teacher.from.model=fit_student"], "these stages wait for each other: "),
    (["run", "kd", "graph.fit_student.step.nodes.s.from=[kd]"], "these nodes wait for each other: "),
    (
        ["run", "kd", "graph.fit_student.step.nodes.kd.op=kl_divergense"],
        "no op is called 'kl_divergense' (did you mean 'kl_divergence'?)",
    ),
    (["run", "kd", "graph.fit_student.step.nodes.kd.from=[s.logits]"], "op 'kl_divergence' lacks its input 'teacher'"),
    (["run", "kd", "graph.test.stage=evaluat"], "no stage is called 'evaluat' (did you mean 'evaluate'?)"),
    (["run", "kd", "data=folder"], "'root' has no value yet: set data.root=..."),
    (
        ["run", "kd", "data=folder", "data.root=nowhere"],
        "the data folder nowhere does not exist: expected nowhere/train/CLASS/*.png",
    ),
    (["run", "kd", "student=cifar/resnet20", "student.depth=21"], "the depth of a CIFAR ResNet is 6n+2, got 21"),
    (["run", "kd", "hardware.device=tpu"], "device is one of cpu, cuda, mps, got 'tpu'"),
    (["run", "kd", "hardware.precision=fp8"], "precision is one of fp32, bf16, fp16, got 'fp8'"),
    (["reproduce", "kd", "scale=tiny"], "has no scale 'tiny'"),
    (["reproduce", "kd", "--arms", "kd,scrach"], "has no arm 'scrach' (did you mean 'scratch'?)"),
    (["list", "recipes"], "kdrun list shows papers, methods, parts, groups, runs"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_gives_one_line_exit_code_2_and_writes_nothing(kdrun, tmp_path, arguments, message) -> None:
    answer = kdrun(*arguments)
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_the_splits_that_are_read_is_refused_before_training(kdrun, tmp_path) -> None:
    for label in "ab":
        (tmp_path / "images/train" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images/train" / label / "0.png")
    answer = kdrun("run", "kd", "data=folder", "data.root=images", "data.size=8")
    assert answer.code == 2
    assert "the data has no split 'test'; there are: train" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_every_command_takes_an_arm_and_a_scale(kdrun, tmp_path) -> None:
    words = ("kd", "arm=scratch", "scale=smoke")
    assert "fit_teacher" not in kdrun("show", *words).out
    assert kdrun("check", *words).out == "distillation/kd [scratch]: 3 stages, all well\n"
    assert "fit_teacher" not in kdrun("plan", *words).out
    assert kdrun("run", *words).code == 0
    assert "stages computed: 0" in kdrun("run", *words).out
    assert kdrun("export", *words, "--output", "out.safetensors").code == 0
    assert (tmp_path / "out.safetensors").is_file()
    once = kdrun("reproduce", *words, "seeds=1", "--jobs", "1")
    assert "scratch  1" in once.out
    assert "label_smoothing" not in once.out
    assert "has no arm 'scrtch' (did you mean 'scratch'?)" in kdrun("plan", "kd", "arm=scrtch").err


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom kdrun.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nassert not {'torch', 'hydra', 'rich', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class Dropping:
    """An object that is being tidied up when the user presses Ctrl-C."""

    def __del__(self) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_that_comes_while_an_object_is_tidied_up_is_not_lost(kdrun, monkeypatch) -> None:
    from kdrun.commands import list_

    def main(arguments: list[str]) -> int:
        Dropping()
        time.sleep(30)
        return 0

    monkeypatch.setattr(list_, "main", main)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = kdrun("list", "papers")
    finally:
        signal.signal(signal.SIGINT, before)
    assert answer.code == 130
    assert "goes on where this stopped" in answer.err


PRESSED_IN_TORCH = '''
import os, signal, time

import torch
from torch._library import simple_registry
from torch._subclasses.fake_tensor import FakeTensorMode

from kdrun.cli import no_interrupt_lost

asked, pressed = simple_registry.find_torch_dispatch_rule, []

# A function of that file, so that it stands where torch's own does.
exec(compile("""
def find_torch_dispatch_rule(*given):
    if pressed == ["soon"]:
        pressed.append("now")
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))
    return asked(*given)
""", simple_registry.__file__, "exec"))
simple_registry.find_torch_dispatch_rule = find_torch_dispatch_rule
with no_interrupt_lost(), FakeTensorMode():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 3), torch.nn.ReLU())
    rows = torch.zeros(2, 3)
    pressed.append("soon")
    try:
        for _ in range(1000):
            network(rows)
            time.sleep(0.001)
    except KeyboardInterrupt:
        print("interrupted", len(pressed))
'''


@pytest.mark.slow
def test_ctrl_c_inside_of_what_torch_calls_back_ends_no_process() -> None:
    """Raised there, it would end in std::terminate: torch's dispatcher lets no exception through."""
    ended = subprocess.run([sys.executable, "-c", PRESSED_IN_TORCH], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "interrupted 2\n"), ended.stderr


def test_ctrl_c_is_raised_at_once_in_any_other_code() -> None:
    with no_interrupt_lost(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Untidy:
    """What interrupts the program while Python tidies it up."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def waited() -> None:
    Untidy()
    for _ in range(300):
        time.sleep(0.01)


def test_ctrl_c_is_not_lost_while_another_one_is_put_off(monkeypatch) -> None:
    """A machine may be so busy that the second comes while the first is still being put off."""
    from kdrun import cli

    start, started = cli._thread.start_new_thread, []

    def slowly(*given) -> None:
        start(*given)
        if not started:
            started.append(True)
            time.sleep(0.1)

    monkeypatch.setattr(cli._thread, "start_new_thread", slowly)
    with no_interrupt_lost(), pytest.raises(KeyboardInterrupt):
        waited()
    assert started


def test_a_handler_of_the_programs_own_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with no_interrupt_lost():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
