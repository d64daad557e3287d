"""Beside a paper's number: agreement is shown, not presumed, and as seldom wrong as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from kdrun.claims import agreements, check_claims
from kdrun.claims.agreement import Agreement, compared_at
from kdrun.errors import InputError

DRAWS = 2000
TOLERANCE = 0.5


def claims(**reported) -> dict:
    number = {"value": 70.0, "tolerance": TOLERANCE, **reported}
    return {
        "c": {"test": "kd.test.top1 > ce.test.top1", "says": "so", "reported": {"setting": "-", "kd.test.top1": number}}
    }


def judged(values, **reported) -> Agreement:
    results = {"kd": {seed: {"test.top1": float(value)} for seed, value in enumerate(values)}, "ce": {}}
    return agreements(claims(**reported), results, "paper")[0]


def test_a_close_mean_of_many_agrees_a_far_one_differs_and_few_seeds_decide_nothing() -> None:
    spread = [-0.2, -0.1, 0.0, 0.1, 0.2]
    assert judged([70.1 + s for s in spread]).outcome == "agrees"
    assert judged([71.0 + s for s in spread]).outcome == "differs"
    assert judged([70.3, 69.0]).outcome == "too few seeds", "no difference found is no agreement"
    assert judged([70.0]).note.startswith("needs at least two seeds")


def test_without_a_spread_it_is_the_two_one_sided_t_tests_of_one_sample() -> None:
    values = [70.1, 69.9, 70.4, 70.2]
    found = judged(values)
    mean, error = np.mean(values), np.std(values, ddof=1) / 2
    one_sided = student.sf((TOLERANCE - abs(mean - 70)) / error, 3)
    assert found.p == pytest.approx(2 * one_sided)
    half = student.ppf(0.975, 3) * error
    assert (found.difference.low, found.difference.high) == pytest.approx((mean - 70 - half, mean - 70 + half))
    assert "no spread" in found.note


def test_with_the_papers_runs_it_is_the_test_of_cochran_and_cox() -> None:
    values = np.array([70.1, 69.9, 70.4, 70.2])
    found = judged(values, spread=0.3, runs=3)
    own, paper = values.var(ddof=1) / 4, 0.3**2 / 3
    quantile = (own * student.ppf(0.975, 3) + paper * student.ppf(0.975, 2)) / (own + paper)
    assert found.difference.high - found.difference.mean == pytest.approx(quantile * math.sqrt(own + paper))
    at_the_end = judged(values, spread=0.3, runs=3, tolerance=float(found.difference.high))
    assert at_the_end.p == pytest.approx(0.05), "a tolerance as wide as the interval is just decided"


def test_a_wide_spread_of_the_paper_is_not_mended_by_more_seeds() -> None:
    found = judged([70.1, 69.9, 70.0, 70.0], spread=1.0)
    assert (found.outcome, found.seeds_needed) == ("too few seeds", None)
    assert "the paper's own spread" in found.note


def test_as_many_seeds_as_are_said_to_decide_mostly_do() -> None:
    random = np.random.default_rng(0)
    pilot = 70.2 + 0.5 * np.array([-1.0, 1.0, -0.5, 0.5])
    needed = judged(pilot).seeds_needed
    assert needed is not None
    assert 5 < needed < 40
    draws = 70.2 + pilot.std(ddof=1) * random.standard_normal((400, needed))
    assert np.mean([judged(row).outcome == "agrees" for row in draws]) > 0.75


@pytest.mark.parametrize("runs", [0, 3], ids=["a number as it stands", "a mean of three runs"])
@pytest.mark.parametrize("law", ["normal", "t with 5 degrees of freedom"])
def test_wrong_verdicts_stay_within_alpha_at_the_ends_of_the_tolerance(runs: int, law: str) -> None:
    """There both verdicts are equally wrong: together they come in at most one study of twenty."""
    random, wrong = np.random.default_rng(1), {"agrees": 0, "differs": 0, "too few seeds": 0}
    for _ in range(DRAWS):
        noise = random.standard_normal(8) if law == "normal" else random.standard_t(5, 8) / math.sqrt(5 / 3)
        paper = random.standard_normal(runs) * 0.2
        said = {"value": 70 + paper.mean(), "spread": paper.std(ddof=1), "runs": runs} if runs else {"value": 70.0}
        wrong[judged(70 + TOLERANCE + 0.2 * noise, **said).outcome] += 1
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)
    assert (wrong["agrees"] + wrong["differs"]) / DRAWS < most
    assert max(wrong["agrees"], wrong["differs"]) / DRAWS < 0.025 + 3 * math.sqrt(0.025 / DRAWS)


def test_what_agrees_and_what_differs_is_found() -> None:
    random = np.random.default_rng(2)
    for mean, outcome in ((70.0, "agrees"), (71.0, "differs")):
        draws = mean + 0.2 * random.standard_normal((400, 8))
        assert np.mean([judged(row).outcome == outcome for row in draws]) > 0.95


def test_seeds_that_are_all_alike_leave_nothing_to_chance() -> None:
    assert judged([70.5, 70.5]).outcome == "agrees"
    assert judged([70.6, 70.6]).outcome == "differs"


def test_numbers_are_compared_at_their_scale_and_remarks_never() -> None:
    content = claims()
    content["c"]["reported"]["kd"] = 70.66
    assert list(map(str, compared_at(content, "paper")["c"])) == ["kd.test.top1"]
    assert compared_at(content, "small") == {}
    assert list(compared_at(claims(scale="small"), "small")) == ["c"]


def test_an_early_look_asks_for_more() -> None:
    values = [70.1 + s for s in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    results = {"kd": {seed: {"test.top1": value} for seed, value in enumerate(values)}, "ce": {}}
    once, often = agreements(claims(), results, "paper")[0], agreements(claims(), results, "paper", (5, 10, 20))[0]
    assert often.p > once.p


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"spred": 0.1}, "has no 'spred' (did you mean 'spread'?)"),
        ({"tolerance": 0}, "tolerance lies above 0"),
        ({"tolerance": None}, "tolerance is a number"),
        ({"value": "70"}, "value is a number"),
        ({"runs": 0}, "runs is how many runs"),
    ],
)
def test_a_number_that_cannot_be_compared_is_refused(wrong: dict, told: str) -> None:
    with pytest.raises(InputError) as caught:
        check_claims(claims(**wrong), ["kd", "ce"])
    assert told in caught.value.message
    assert str(caught.value.key).startswith("claims.c.reported.kd.test.top1")


def test_a_number_of_an_arm_that_is_not_there_is_refused() -> None:
    content = claims()
    content["c"]["reported"]["kb.test.top1"] = content["c"]["reported"].pop("kd.test.top1")
    with pytest.raises(InputError, match="there is no arm 'kb'"):
        check_claims(content, ["kd", "ce"])
