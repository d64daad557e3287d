"""A model that tells fewer classes apart than the labels name is refused in one line."""

from __future__ import annotations

import pytest

from support.recipes import QUICK

PICK = '''
import torch
from kdrun.registry import op
@op
def picked(logits, index):
    """Minus the mean logit at an index."""
    return -logits[torch.arange(len(logits)), index].mean()
'''


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("transfer", ["none", "kd"])
def test_fewer_classes_than_labels_are_refused_before_anything_runs(kdrun, tmp_path, command, transfer) -> None:
    answer = kdrun(command, "kd", f"transfer={transfer}", "student.num_classes=5", "teacher.num_classes=5", *QUICK)
    assert answer.code == 2
    assert "tells 5 classes apart, with labels of 10" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_more_classes_than_labels_are_fine(kdrun) -> None:
    assert kdrun("plan", "kd", "transfer=none", "student.num_classes=12", *QUICK).code == 0


def test_a_label_beyond_the_classes_that_only_the_run_can_meet_is_told_in_one_line(kdrun, tmp_path) -> None:
    (tmp_path / "own.py").write_text(PICK)
    node = "graph.fit_student.step.nodes.ce={op: picked, from: [s.logits, batch.label]}"
    words = ("transfer=none", "plugins=[own.py]", "student.num_classes=5", f"+{node}", *QUICK)
    answer = kdrun("run", "kd", *words)
    assert answer.code == 2
    assert "graph.fit_student: a label or number is beyond what it counts through (index" in answer.err
    assert "Traceback" not in answer.err
