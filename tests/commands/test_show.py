"""``show``: every stage is drawn, loops too."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("form", ["text", "yaml", "mermaid", "svg"])
def test_show_draws_every_stage(kdrun, form) -> None:
    answer = kdrun("show", "kd", "--format", form)
    assert answer.code == 0
    assert all(name in answer.out for name in ("fit_teacher", "fit_student", "teacher_test"))


@pytest.mark.parametrize("form", ["text", "yaml", "mermaid", "svg"])
def test_show_draws_graphs_with_loops(kdrun, form) -> None:
    answer = kdrun("show", "federated/knfu", "scale=smoke", "--format", form)
    assert answer.code == 0, answer.err
    assert "federation[0]" in answer.out
