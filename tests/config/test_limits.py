"""What a file asks for is counted before it is built, and each limit says how it is set."""

from __future__ import annotations

import os

import pytest

from kdrun.config.compose import Composer
from kdrun.config.files import read
from kdrun.errors import InputError
from kdrun.graph.check import check
from kdrun.limits import LIMITS, limit

HEAD = "defaults:\n  - override /protocol: distillation\n  - override /data: digits\n"


def refused(tmp_path, text: str) -> str:
    path = tmp_path / "large.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        check(Composer.named(str(path)).compose().config)
    return str(error.value)


def test_a_loop_without_end_is_counted_before_it_is_unrolled(tmp_path) -> None:
    told = refused(tmp_path, "graph: {l: {foreach: {i: 1000000000}, do: {x: {op: add, from: [i]}}}}\n")
    assert "1000000000 items of a loop are more than 10000 (KDRUN_LOOP_ITEMS sets the limit)" in told


def test_loops_in_loops_are_counted_together(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_NODES", "500")
    inner = "{j: {foreach: {k: 100}, do: {x: {op: zeros, size: [2]}}}}"
    assert "nodes, with loops unrolled," in refused(tmp_path, f"graph: {{l: {{foreach: {{i: 100}}, do: {inner}}}}}\n")


def test_values_that_double_are_measured_before_they_are_made(tmp_path) -> None:
    lines = "".join(f'a{i}: "${{a{i - 1}}}${{a{i - 1}}}"\n' for i in range(1, 60))
    told = refused(tmp_path, f'a0: xxxxxxxxxx\n{lines}batch_size: "${{a59}}"\n')
    assert "characters of a value with all that it names are more than 1000000" in told


def test_nesting_names_files_and_seeds_have_an_end(tmp_path) -> None:
    assert "nested deeper than 64 levels" in refused(tmp_path, "x: " + "{a: " * 80 + "1" + "}" * 80 + "\n")
    assert "nesting" in refused(tmp_path, "x: " + "[" * 4000 + "]" * 4000 + "\n")
    assert "characters of a name" in refused(tmp_path, f"graph: {{{'n' * 300}: {{}}}}\n")
    assert "bytes of a configuration file" in refused(tmp_path, "# " + "x" * LIMITS["file_bytes"] + "\n")
    assert "1000000000 seeds are more than 1000" in refused(tmp_path, "seeds: 1000000000\n")
    assert "not plain YAML" in refused(tmp_path, f"epochs: {'9' * 5000}\n")


def test_seeds_of_a_command_line_are_counted_too(kdrun) -> None:
    answer = kdrun("reproduce", "kd", "seeds=1000000000000000000000")
    assert (answer.code, answer.err) == (
        2,
        "kdrun: seeds: so many seeds are more than 1000 (KDRUN_SEEDS sets the limit)\n",
    )


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match="a folder or a device"):
        read(tmp_path / "pipe.yaml")


def test_a_limit_is_a_setting(monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_SEEDS", "5")
    assert limit("seeds") == 5
    monkeypatch.setenv("KDRUN_SEEDS", "many")
    with pytest.raises(InputError, match="KDRUN_SEEDS is a whole number, got 'many'"):
        limit("seeds")
