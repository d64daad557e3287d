"""Completion by the tab key."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("kdrun ru", {"run", "runs"}),
        ("kdrun gc --re", {"--recipe"}),
        ("kdrun gc --recipe lok", {"loku", "lokt"}),
        ("kdrun run lok", {"loku", "lokt"}),
        ("kdrun run kd tr", {"transfer=", "transfer.", "tracker=", "tracker."}),
        ("kdrun run kd transfer=la", {"transfer=label_smoothing"}),
        ("kdrun plan kd sca", {"scale=", "scales."}),
        ("kdrun plan kd scale=", {"scale=smoke", "scale=paper"}),
        ("kdrun run kd arm=s", {"arm=scratch"}),
        ("kdrun run loku unlearn.st", {"unlearn.stage=", "unlearn.step.", "unlearn.steps="}),
        ("kdrun run loku arm=gd unlearn.batch_s", {"unlearn.batch_size="}),
    ],
)
def test_tab_completion_knows_recipes_arms_scales_methods_and_nodes(kdrun, monkeypatch, line, found) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert set(kdrun("-sc", "query=bash").out.split()) == found
