"""Several looks at the seeds: bounds against published ones, what a look decides, and error rates over simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from kdrun.claims import judge_all, judge_at_looks, planned_looks
from kdrun.claims.spending import nominal_levels, sequential_p

DRAWS = 2000


def test_looks_come_in_fixed_steps_up_to_the_most() -> None:
    assert planned_looks(5, 20) == (5, 10, 15, 20)
    assert planned_looks(5, 12) == (5, 10, 12)
    assert planned_looks(5, 5) == (5,)


def test_bounds_are_the_published_ones_for_five_equal_looks() -> None:
    """Lan and DeMets's bounds near Pocock's, two-sided 0.05, as tables and programs of sequential designs give them."""
    found = [norm.isf(level / 2) for level in nominal_levels(0.05, (1, 2, 3, 4, 5))]
    assert found == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=2e-4)


def test_one_look_is_an_ordinary_test() -> None:
    assert nominal_levels(0.05, (7,)) == pytest.approx((0.05,))
    assert sequential_p(0.013, 0, (7,)) == pytest.approx(0.013, rel=1e-4)


def test_a_process_without_drift_leaves_the_bounds_as_often_as_alpha_says() -> None:
    looks, alpha = (4, 10, 11, 30), 0.1
    steps = np.random.default_rng(0).standard_normal((200_000, 4)) * np.sqrt(np.diff([0, *looks]))
    scores = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(looks)
    left = (scores > norm.isf(np.array(nominal_levels(alpha, looks)) / 2)).any(axis=1)
    assert left.mean() == pytest.approx(alpha, abs=4 * math.sqrt(alpha * (1 - alpha) / len(left)))


def claims(*names: str) -> dict:
    return {name: {"test": f"{name}.x > 0.0", "says": "so", "kind": "main"} for name in names}


def results(**values: list[float]) -> dict:
    return {name: {seed: {"x": v} for seed, v in enumerate(numbers)} for name, numbers in values.items()}


def test_what_a_look_decides_stays_decided() -> None:
    found = results(a=[0.5, 0.51, 0.49, 0.5, -9.0, 9.0, -9.0, 9.0])
    assert judge_all(claims("a"), found)[0].outcome == "undecided"
    (early,) = judge_at_looks(claims("a"), found, range(8), (4, 8))
    assert (early.outcome, early.distance.n, early.note) == ("reproduced", 4, "at look 1 of 2")
    (late,) = judge_at_looks(claims("a"), found, range(8), (8,))
    assert (late.outcome, late.distance.n) == ("undecided", 8)


def test_what_others_decide_later_stands_with_the_seeds_that_spoke_most_clearly() -> None:
    """``b`` is nearly decided at the first look; once others are, Holm asks less of it, though its later seeds say little."""
    others, looks = [f"c{i}" for i in range(20)], (4, 24)
    found = results(
        b=[-0.093, -0.112, -0.116, -0.07, *[0.2, -0.3] * 10],
        **{name: [1.0, -1.0, 1.0, -1.0, *[2.9, 3.1] * 10] for name in others},
    )
    early = {v.name: v for v in judge_at_looks(claims("b", *others), found, range(4), looks)}
    whole = {v.name: v for v in judge_at_looks(claims("b", *others), found, range(24), looks)}
    assert (early["b"].outcome, whole["c0"].outcome) == ("undecided", "reproduced")
    assert (whole["b"].outcome, whole["b"].distance.n, whole["b"].note) == ("contradicted", 4, "at look 1 of 2")
    assert whole["b"].distance.high < 0


def test_evidence_that_one_look_would_accept_is_too_little_for_the_first_of_several() -> None:
    found = results(a=[0.12, 0.30, 0.20, 0.07])
    assert judge_at_looks(claims("a"), found, range(4), (4,))[0].outcome == "reproduced"
    assert judge_at_looks(claims("a"), found, range(4), (4, 8, 12, 16))[0].outcome == "undecided"


def normal(random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(size)


def student(random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return random.standard_t(3, size) / math.sqrt(3)


def contaminated(random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """One value in twenty is ten times as wide."""
    wide = np.where(random.random(size) < 0.05, 10.0, 1.0)
    return random.standard_normal(size) * wide / math.sqrt(0.95 + 0.05 * 100)


def outcomes(draw, effect: float, arms: int = 1) -> list[set[str]]:
    """Of each simulated study of up to 20 seeds, what its claims came to."""
    looks = planned_looks(5, 20)
    names = [f"arm{i}" for i in range(arms)]
    values = draw(np.random.default_rng(1), (DRAWS, arms, looks[-1])) + effect
    studies = [results(**dict(zip(names, study.tolist(), strict=True))) for study in values]
    return [{v.outcome for v in judge_at_looks(claims(*names), s, range(looks[-1]), looks)} for s in studies]


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal, student, contaminated])
@pytest.mark.parametrize("arms", [1, 3])
def test_without_an_effect_one_study_in_twenty_decides_anything(draw, arms) -> None:
    wrong = sum(found != {"undecided"} for found in outcomes(draw, 0.0, arms)) / DRAWS
    print(draw.__name__, arms, wrong)
    assert wrong < 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal, student, contaminated])
def test_an_effect_of_one_deviation_is_found_and_hardly_ever_turned_round(draw) -> None:
    found = outcomes(draw, 1.0)
    right = sum(one == {"reproduced"} for one in found) / DRAWS
    wrong = sum(one == {"contradicted"} for one in found) / DRAWS
    print(draw.__name__, right, wrong)
    assert right > 0.9
    assert wrong < 0.002
