"""Folders of records."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from kdrun.engine.records import new_run_folder, read_record
from kdrun.errors import StoreError


def test_runs_that_begin_at_once_get_folders_of_their_own_in_order(tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_folder(tmp_path / "kd", "seed0"), range(50)))
    assert len(set(made)) == 50
    assert all(path.is_dir() for path in made)
    later = [new_run_folder(tmp_path / "kd", "seed0") for _ in range(5)]
    assert later == sorted(later)
    assert later[0] > max(made)


def test_a_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "kd").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write .*kd.*; set runs=FOLDER"):
        new_run_folder(tmp_path / "kd", "seed0")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{" * 3,
        "[1]",
        '{"metrics": [1]}',
        '{"overrides": {"a": 1}}',
        '{"objective": "x"}',
        '{"objective": {"metric": [1]}}',
        '{"state": {}}',
        '{"error": [1]}',
        '{"seed": ' + "9" * 5000 + "}",
        "\udcff",
    ],
)
def test_a_record_of_any_shape_is_read_or_told_to_be_broken(tmp_path, kdrun, text) -> None:
    run = tmp_path / "runs" / "kd" / "run"
    run.mkdir(parents=True)
    (run / "result.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_record(run)["state"] == "broken"
    for command in (("runs",), ("runs", "--json"), ("list", "runs"), ("runs", "--sort", "x")):
        answer = kdrun(*command)
        assert answer.code in (0, 2)
        assert answer.err.count("\n") <= 1


def test_numbers_too_large_to_print_are_no_metrics(tmp_path) -> None:
    (tmp_path / "result.json").write_text('{"metrics": {"huge": 1' + "0" * 1000 + ', "plain": 2, "far": 1e999}}')
    assert read_record(tmp_path)["metrics"] == {"plain": 2.0, "far": float("inf")}


def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "result.json")
    assert read_record(tmp_path)["state"] == "broken"
