"""Every hostile input is answered well: by its exit code, in few plain lines, within its time and memory, and nothing else happens."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from support.hostile import Case, World, Zygote, tried

CLASSES = {
    "code": ("hydra", "own_words", "climbing", "carried"),
    "growth": ("growth",),
    "shapes": ("shapes", "words", "contents"),
    "names": ("names",),
    "kept": ("store", "records"),
}
"""The classes of inputs, each with the modules of ``trust.inputs`` that hold its tables."""

SAMPLE = 5
"""The fast tier tries every so manieth of each table, the slow one the others."""


def _cases(kind: str) -> list[object]:
    tables = [importlib.import_module(f"trust.inputs.{name}").CASES for name in CLASSES[kind]]
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if number % SAMPLE or case.slow else [])
        for table in tables
        for number, case in enumerate(table)
    ]


def _judge(case: Case, tmp_path: Path, zygote: Zygote) -> None:
    told, wrong = tried(case, World(tmp_path / "world"), zygote)
    assert not wrong, f"{'; '.join(wrong)}\n{told.err or told.out}"


@pytest.mark.parametrize("case", _cases("code"))
def test_no_code_runs_and_nothing_is_read_or_written_outside(case: Case, tmp_path: Path, zygote: Zygote) -> None:
    _judge(case, tmp_path, zygote)


@pytest.mark.parametrize("case", _cases("growth"))
def test_what_is_asked_for_is_counted_first(case: Case, tmp_path: Path, zygote: Zygote) -> None:
    _judge(case, tmp_path, zygote)


@pytest.mark.parametrize("case", _cases("shapes"))
def test_a_wrong_shape_is_one_line(case: Case, tmp_path: Path, zygote: Zygote) -> None:
    _judge(case, tmp_path, zygote)


@pytest.mark.parametrize("case", _cases("names"))
def test_no_name_speaks_to_the_terminal(case: Case, tmp_path: Path, zygote: Zygote) -> None:
    _judge(case, tmp_path, zygote)


@pytest.mark.parametrize("case", _cases("kept"))
def test_store_and_records_are_not_believed(case: Case, tmp_path: Path, zygote: Zygote) -> None:
    _judge(case, tmp_path, zygote)
