"""Reproducing from Python: verdicts, a table an arm, single runs, the page."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kdrun
from kdrun.api.reproduction import Reproduction
from kdrun.errors import InputError, RunError


@pytest.fixture(scope="module")
def reproduced(shared_store) -> Reproduction:
    return kdrun.reproduce("kd", scale="smoke", seeds=2, store=shared_store)


def test_it_reads_as_the_command_prints(reproduced, shared_store, kdrun) -> None:
    answer = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", f"store={shared_store}", "--quiet")
    assert answer.out.rsplit("\n\nreport:", 1)[0] == str(reproduced)
    assert [v.name for v in reproduced.verdicts] == ["beats_scratch", "beats_smoothing"]
    assert reproduced.page is None


def test_each_arm_has_a_table_with_a_row_a_seed(reproduced) -> None:
    pytest.importorskip("pandas")
    assert list(reproduced.tables) == ["kd", "scratch", "label_smoothing"]
    table = reproduced.tables["kd"]
    assert list(table.index) == [0, 1]
    assert reproduced.means.loc["kd", "test.accuracy"] == pytest.approx(table["test.accuracy"].mean())


def test_a_run_of_it_is_a_run(reproduced, finished) -> None:
    assert reproduced.run("kd", 0).metrics == finished.metrics
    assert reproduced.run("kd", 0).model("fit_student") is not None
    with pytest.raises(InputError, match="no run of arm 'kd' at seed 7; arms: kd, scratch"):
        reproduced.run("kd", 7)


def test_what_was_composed_is_reproduced_with_its_changes(reproduced, shared_store) -> None:
    composed = kdrun.compose("kd", {"batch_size": 32}, scale="smoke", store=shared_store)
    found = kdrun.reproduce(composed, seeds=[0], arms=["kd"])
    assert found.run("kd", 0).config["batch_size"] == 32
    assert found.results["kd"][0] != reproduced.results["kd"][0]


def test_some_arms_are_judged_on_nothing_and_records_come_where_they_are_wanted(shared_store, tmp_path, capfd) -> None:
    found = kdrun.reproduce(
        "kd", scale="smoke", seeds=[1], arms=["scratch"], store=shared_store, runs=tmp_path / "records"
    )
    assert list(found.tables) == ["scratch"]
    assert list(found.verdicts) == []
    assert found.page == tmp_path / "records/distillation-kd/reproduce-smoke-arms=scratch/report.html"
    assert found.page.is_file()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(InputError, match="no arm 'scrach'"):
        kdrun.reproduce("kd", arms=["scrach"])


def test_a_run_that_fails_is_told_and_the_others_stand(tmp_path, shared_store) -> None:
    found = kdrun.reproduce("kd", {"arms.scratch.optimizer.lr": 1e30}, scale="smoke", seeds=[0], store=shared_store)
    assert list(found.failures) == ["[scratch seed 0]"]
    assert "[scratch seed 0] failed" in repr(found)
    assert found.results["scratch"] == {}
    with pytest.raises(type(found.failures["[scratch seed 0]"])):
        found.run("scratch", 0)
    assert "<table>" in found._repr_html_()


SCRIPT = """
import kdrun
found = kdrun.reproduce("kd", scale="smoke", seeds=[30], arms=["scratch", "label_smoothing"], store="store", jobs=2)
print(sorted(found.results), found.failures)
"""


@pytest.mark.slow
def test_a_script_starts_processes_without_a_guard_of_its_main_part(tmp_path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "['label_smoothing', 'scratch'] {}\n", done.stderr


DEADLY = '''from torch import Tensor
from kdrun.registry import op
@op
def dies(logits: Tensor, label: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Ends the process that trains, as a lack of memory would."""
    import os
    if type(logits) is Tensor and logits.requires_grad:
        os._exit(9)
    return logits.sum()
'''


@pytest.mark.slow
def test_a_process_that_ends_without_a_word_is_told(tmp_path) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    change = {"fit_student.step.nodes.ce.op": "dies"}
    with pytest.raises(RunError, match="a process of the sweep ended without a word"):
        kdrun.reproduce(
            "kd", change, scale="smoke", seeds=[31], arms=["scratch", "label_smoothing"], store=tmp_path / "store",
            plugins=[tmp_path / "deadly.py"], jobs=2,
        )  # fmt: skip


@pytest.mark.parametrize("overrides", [["launcher=nope"], {"launcher": "nope"}])
def test_a_launcher_is_asked_for_as_on_the_command_line(overrides) -> None:
    with pytest.raises(InputError, match="launcher has no option 'nope'"):
        kdrun.reproduce("kd", overrides, scale="smoke")
