"""What a file asks for is counted before it is built, and each limit says how it is set."""

from __future__ import annotations

import os
from pathlib import Path

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
    answer = kdrun("reproduce", "kd", "seeds=1000000000000000")
    assert (answer.code, answer.err) == (
        2,
        "kdrun: seeds: so many seeds are more than 1000 (KDRUN_SEEDS sets the limit)\n",
    )


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match="a folder or a device"):
        read(tmp_path / "pipe.yaml")


def test_every_limit_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "grammar.md").read_text(encoding="utf-8")
    for name, most in LIMITS.items():
        assert f"| `KDRUN_{name.upper()}` | {most:,} |" in page


def test_a_limit_is_a_setting(monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_SEEDS", "5")
    assert limit("seeds") == 5
    monkeypatch.setenv("KDRUN_SEEDS", "many")
    with pytest.raises(InputError, match="KDRUN_SEEDS is a whole number, got 'many'"):
        limit("seeds")


def test_arms_scales_claims_and_numbers_have_an_end(tmp_path) -> None:
    many = ", ".join(f"a{i}: {{}}" for i in range(600))
    assert "600 arms are more than 500" in refused(tmp_path, f"arms: {{{many}}}\n")
    assert "600 scales are more than 500" in refused(tmp_path, f"scales: {{{many}}}\n")
    assert "digits of a number are more than 19" in refused(tmp_path, f"epochs: {'9' * 4000}\n")
    assert "seeds are more than 1000" in refused(tmp_path, f"seeds: {list(range(1001))}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=range(0,100000000)"], "100000000 jobs of a multirun are more than 10000"),
        (["seed=range(0,9999)", "epochs=range(1,9999)"], "jobs of a multirun are more than 10000"),
        (["optimizer.lr=range(0,1,0.0000001)"], "jobs of a multirun are more than 10000"),
        (["seed=range(0,5,0)"], "a range goes by steps other than 0"),
        ([f"seed={','.join(map(str, range(20000)))}"], "characters of the override"),
    ],
)
def test_jobs_are_counted_before_any_is_made(kdrun, words, told) -> None:
    answer = kdrun("run", "kd", "-m", *words)
    assert (answer.code, told in answer.err, answer.err.count("\n")) == (2, True, 1), answer.err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (f"x={'[' * 3000}", "override"),
        (f"epochs={'9' * 5000}", "too many digits"),
        (f"epochs={'9' * 400}", "digits of a number"),
        (f"x={'k' * 30000}", "characters of the override"),
        (f"arm={'k' * 9000}", "has no arm"),
        (f"data={'k' * 9000}", "data"),
    ],
)
def test_words_without_end_are_refused_in_a_short_line(kdrun, word, told) -> None:
    answer = kdrun("check", "kd", word)
    assert (answer.code, told in answer.err, answer.err.count("\n")) == (2, True, 1), answer.err
    assert len(answer.err) < 2000
