"""Claims read as sentences."""

from __future__ import annotations

from kdrun.grammar.sentences import parse

A, B = "a.test.accuracy", "b.test.accuracy"


def test_metrics_inside_loops_keep_their_brackets() -> None:
    sentence = parse("a.seen[one].score.frechet_distance < 0.1 * a.seen[two].score.frechet_distance", key="k")
    assert [str(m) for m in sentence.metrics()] == [
        "a.seen[one].score.frechet_distance",
        "a.seen[two].score.frechet_distance",
    ]
    assert [term.factor for term in sentence.terms] == [1.0, -0.1]


def test_constants_of_both_sides_make_one_threshold() -> None:
    assert parse(f"{A} - 0.5 > {B} + 0.25", key="k").threshold == 0.75
    turned = parse(f"0.9 < {A}", key="k")
    assert (turned.threshold, turned.terms[0].factor) == (0.9, 1.0)
    assert turned.side(1.0) > 0 > turned.side(0.8)
