"""A number that is asked for is there and finite: ``check`` refuses anything else, wherever it stands."""

from __future__ import annotations

import pytest
import yaml

from kdrun.config.schema import check_values
from kdrun.errors import InputError
from support.recipes import NO_TRANSFER, write_recipe

WORDS = [
    ("optimizer.lr=1e999", "optimizer.lr"),
    ("optimizer.momentum=-1e999", "optimizer.momentum"),
    ("transfer.temperature=inf", "temperature"),
    ("transfer.weight=nan", "minimize.kd"),
    ("fit_student.step.minimize.ce=inf", "minimize.ce"),
    ("checkpoint_seconds=inf", "checkpoint_seconds"),
    ("hardware.remember_gib=inf", "hardware.remember_gib"),
    ("optimizer.schedule={schedule: cosine, warmup: inf}", "warmup"),
    ("test.metrics=[{metric: accuracy, top: inf}]", "top"),
    ("objective={metric: test.accuracy, above: [1.0, [inf]]}", "objective"),
]


@pytest.mark.parametrize(("word", "key"), WORDS, ids=[word for word, _ in WORDS])
def test_a_number_without_end_is_refused_where_it_stands(kdrun, word: str, key: str) -> None:
    answer = kdrun("check", "kd", "arm=kd", word)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert key in answer.err
    assert "expected a finite number, got" in answer.err


@pytest.mark.parametrize("said", ["1e999", ".inf", "-.Inf", ".NaN"])
def test_so_is_one_in_a_file_and_one_that_is_computed(kdrun, tmp_path, said: str) -> None:
    for body in (
        f"optimizer: {{lr: {said}}}",
        f"x: {said}\noptimizer: {{lr: '${{x}}'}}",
        "optimizer: {lr: '${mul:1e300,1e300}'}",
    ):
        answer = kdrun("check", write_recipe(tmp_path, body, header=NO_TRANSFER))
        assert (answer.code, answer.err.count("\n")) == (2, 1), body
        assert "finite" in answer.err or "inf" in answer.err or "nan" in answer.err.lower()


def test_the_order_of_a_norm_may_be_infinite_and_no_number_is_undefined() -> None:
    check_values({"graph": {"norm": {"op": "row_norm", "order": float("inf")}}})
    with pytest.raises(InputError, match=r"graph\.norm\.order: expected a finite number, got nan"):
        check_values({"graph": {"norm": {"op": "row_norm", "order": float("nan")}}})


def test_a_stage_that_trains_says_for_how_long(kdrun, tmp_path) -> None:
    for said, told in (
        ({"epochs": None}, "has neither"),
        ({"epochs": 2, "graph": {"fit_student": {"steps": 3}}}, "has both"),
    ):
        answer = kdrun("check", write_recipe(tmp_path, yaml.safe_dump(said), header=NO_TRANSFER))
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "needs either epochs or steps, and " + told in answer.err


@pytest.mark.parametrize("word", ["data=~/images", "data=./images", "data=/images"])
def test_a_folder_in_the_place_of_an_option_is_told_how_to_be_said(kdrun, word: str) -> None:
    for command in (("check", "kd"), ("run", "kd"), ("run", "kd", "-m")):
        answer = kdrun(*command, word)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "data=folder data.root=" in answer.err
        assert "Could not" not in answer.err
