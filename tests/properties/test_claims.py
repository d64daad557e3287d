"""Claims: a sentence is what its words say, and a verdict speaks of the numbers, not of how they are written or ordered."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrun.claims import judge
from kdrun.claims.statistics import holm, mean_interval
from kdrun.claims.verdicts import judge_all
from kdrun.grammar.sentences import parse
from support.answers import refusal, wrong_with

ARMS = st.sampled_from(["kd", "scratch", "a_b", "x1"])
METRICS = st.builds("{}.{}".format, ARMS, st.sampled_from(["test.accuracy", "stream[2].test.nll", "zoo.2.gain.mean"]))
NUMBERS = st.floats(0.001, 1000).map(lambda x: f"{x:.6g}")
TERMS = (
    METRICS | st.builds("{} * {}".format, NUMBERS, METRICS) | st.builds("{} / {}".format, METRICS, METRICS) | NUMBERS
)
SUMS = st.builds(
    lambda first, rest: first + "".join(rest),
    METRICS,
    st.lists(st.builds("{} {}".format, st.sampled_from([" +", " -"]), TERMS), max_size=2),
)
SIGNS = st.sampled_from([">", "<", ">=", "<="])
COMPARED = st.builds("{} {} {}".format, SUMS, SIGNS, SUMS | NUMBERS)
SENTENCES = (
    COMPARED
    | st.builds("{} ~ {} ± {}".format, METRICS, METRICS, NUMBERS)
    | st.builds("{} {} over a, b, c".format, st.just("test.accuracy"), st.sampled_from(["rises", "falls"]))
    | st.builds("rank of {} among u, v {} {}".format, METRICS, SIGNS, st.integers(1, 3))
    | st.builds("at least {} % of arms: test.accuracy {} {}".format, st.integers(0, 100), SIGNS, SUMS)
    | st.builds("{} in every seed".format, COMPARED)
    | st.builds("{} in {} % of the seeds".format, COMPARED, st.integers(1, 100))
)

VALUES = st.floats(-10, 10).map(lambda x: round(x, 3))
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=6)
TURNED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
OPPOSITE = {">": "<=", "<": ">=", ">=": "<", "<=": ">"}
A, B = "a.test.accuracy", "b.test.accuracy"


def results(pairs) -> dict:
    columns = {"a": [a for a, _ in pairs], "b": [b for _, b in pairs]}
    return {arm: {seed: {"test.accuracy": v} for seed, v in enumerate(column)} for arm, column in columns.items()}


def verdict(test: str, pairs):
    return judge("c", {"test": test, "says": "so"}, results(pairs))


@given(SENTENCES, st.sampled_from(["  ", "\n", "\t "]))
def test_a_sentence_is_read_from_its_own_text_as_it_was(text, space) -> None:
    sentence = parse(text, key="k")
    assert parse(sentence.text, key="k") == sentence
    assert parse(text.replace(" ", space), key="k") == sentence


@given(
    st.lists(
        st.sampled_from(
            [
                *"+-*/<>=~±.,:%() ",
                "kd.x",
                "a",
                "0.5",
                "1e3",
                "over",
                "rises",
                "rank of ",
                " among ",
                "in every seed",
                "\x1b",
                "\n",
            ]
        ),
        max_size=9,
    ).map("".join)
    | st.text(max_size=20)
)
def test_any_text_is_a_sentence_or_one_line_that_says_what_is_wrong(text) -> None:
    refused = refusal(lambda: parse(text, key="claims.c.test"))
    if refused is not None:
        assert wrong_with(refused) is None
        return
    sentence = parse(text, key="claims.c.test")
    assert math.isfinite(sentence.threshold)
    assert parse(sentence.text, key="k") == sentence


@given(PAIRS, SIGNS, st.sampled_from(["", " + 0.5", " - 2"]))
def test_a_verdict_is_the_same_with_both_sides_and_the_relation_swapped(pairs, sign, margin) -> None:
    first, second = verdict(f"{A} {sign} {B}{margin}", pairs), verdict(f"{B}{margin} {TURNED[sign]} {A}", pairs)
    assert first.outcome == second.outcome
    assert first.distances == pytest.approx(second.distances)
    assert first.p == pytest.approx(second.p, nan_ok=True)


@given(PAIRS, SIGNS)
def test_the_opposite_claim_has_the_opposite_verdict(pairs, sign) -> None:
    swapped = {"reproduced": "contradicted", "contradicted": "reproduced", "undecided": "undecided"}
    found, other = verdict(f"{A} {sign} {B}", pairs), verdict(f"{A} {OPPOSITE[sign]} {B}", pairs)
    assert other.outcome == swapped[found.outcome]
    assert other.distances == pytest.approx([-d for d in found.distances])


@given(PAIRS, SIGNS, st.randoms())
def test_the_order_of_seeds_means_nothing(pairs, sign, chance) -> None:
    shuffled = chance.sample(pairs, len(pairs))
    found, other = verdict(f"{A} {sign} {B}", pairs), verdict(f"{A} {sign} {B}", shuffled)
    assert (found.outcome, found.held) == (other.outcome, other.held)


@given(PAIRS, SIGNS, st.sampled_from([0.125, 2.0, 1024.0]))
def test_the_unit_of_a_metric_means_nothing(pairs, sign, unit) -> None:
    found = verdict(f"{A} {sign} {B}", pairs)
    assert verdict(f"{A} {sign} {B}", [(unit * a, unit * b) for a, b in pairs]).outcome == found.outcome


@given(st.lists(VALUES, min_size=2, max_size=6), st.integers(2, 5))
def test_more_seeds_that_say_the_same_make_the_interval_shorter(values, times) -> None:
    few, many = mean_interval(values), mean_interval(values * times)
    assert many.mean == pytest.approx(few.mean)
    assert many.half_width < few.half_width or len(set(values)) == 1


@given(PAIRS, SIGNS, st.integers(2, 4))
def test_more_seeds_that_say_the_same_undo_no_verdict(pairs, sign, times) -> None:
    found = verdict(f"{A} {sign} {B}", pairs)
    assert not found.decided or verdict(f"{A} {sign} {B}", pairs * times).outcome == found.outcome


@given(st.dictionaries(st.sampled_from("abcdefg"), st.floats(0, 1) | st.just(math.nan), min_size=1))
def test_a_correction_for_several_claims_only_weakens_and_keeps_their_order(values) -> None:
    found = holm(values)
    known = {name: 1.0 if math.isnan(value) else value for name, value in values.items()}
    assert all(known[name] <= found[name] <= 1 for name in values)
    ranked = sorted(values, key=known.__getitem__)
    assert [found[name] for name in ranked] == sorted(found.values())


@given(st.lists(st.tuples(SIGNS, st.sampled_from(["", " + 1", " - 1"])), min_size=2, max_size=4), PAIRS, st.randoms())
def test_the_order_of_claims_means_nothing(rows, pairs, chance) -> None:
    claims = {f"c{i}": {"test": f"{A} {sign} {B}{margin}", "says": "so"} for i, (sign, margin) in enumerate(rows)}
    names = chance.sample(list(claims), len(claims))
    first = {v.name: v.outcome for v in judge_all(claims, results(pairs))}
    again = {v.name: v.outcome for v in judge_all({name: claims[name] for name in names}, results(pairs))}
    assert first == again


@given(SENTENCES)
def test_a_sentence_keeps_nothing_of_its_spaces(text) -> None:
    assert replace(parse(f"  {text} ", key="k"), text="") == replace(parse(text, key="k"), text="")
