"""Loops and copies: they make exactly what they say, or are refused before anything is made."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrun.errors import InputError
from kdrun.grammar.each import copies
from kdrun.grammar.loops import unroll
from support.answers import refusal

NODES, ITEMS = 60, 9
"""The limits in these tests."""

COUNTS = st.integers(0, ITEMS + 2) | st.sampled_from([10**6, 10**15])
NODE = {"op": "constant", "shape": [1]}


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDRUN_NODES", str(NODES))
    monkeypatch.setenv("KDRUN_LOOP_ITEMS", str(ITEMS))


def nested(counts: list[int]) -> dict:
    """Loops in loops, so many passes each from the outermost on, around one node."""
    inner: dict = {"x": NODE}
    for level, count in reversed(list(enumerate(counts))):
        inner = {f"l{level}": {"foreach": {f"i{level}": count}, "do": inner}}
    return inner


def reached(counts: list[int]) -> list[int]:
    """The counts that matter: those inside of a loop without passes do not."""
    return counts[: counts.index(0) + 1] if 0 in counts else counts


@given(st.lists(COUNTS, min_size=1, max_size=3))
def test_loops_in_loops_make_the_product_of_their_passes_or_are_refused(counts) -> None:
    wanted = math.prod(counts)
    allowed = wanted <= NODES and all(count <= ITEMS for count in reached(counts))
    refused = refusal(lambda: unroll(nested(counts), {}))
    if refused is not None:
        assert not allowed
        assert "KDRUN_LOOP_ITEMS" in refused or "KDRUN_NODES" in refused
        return
    assert allowed
    assert len(unroll(nested(counts), {})) == wanted


@given(st.lists(st.lists(COUNTS, min_size=1, max_size=2), min_size=1, max_size=3))
def test_loops_beside_each_other_are_counted_together(rows) -> None:
    body = {f"block{i}": {"foreach": {"k": 1}, "do": nested(counts)} for i, counts in enumerate(rows)}
    wanted = sum(map(math.prod, rows))
    allowed = wanted <= NODES and all(count <= ITEMS for counts in rows for count in reached(counts))
    try:
        made = unroll(body, {})
    except InputError:
        assert not allowed
        return
    assert allowed
    assert len(made) == wanted


@given(COUNTS)
def test_a_carried_value_is_handed_on_once_a_pass(count) -> None:
    loop = {"foreach": {"i": count, "carry": {"x": "first"}}, "do": {"x": {"op": "scale", "from": ["x.before"]}}}
    try:
        made = unroll({"first": NODE, "l": loop}, {})
    except InputError:
        assert count > ITEMS
        return
    assert len(made) == count + 1
    read = [str(next(made[f"l[{i}].x"].refs())) for i in range(count)]
    assert read == [f"l[{i - 1}].x" if i else "first" for i in range(count)]


@given(st.integers(0, ITEMS + 2))
def test_each_makes_a_copy_an_item_or_is_refused(count) -> None:
    body = {"each": list(range(count)), "op": "scale", "from": ["x{}"]}
    refused = refusal(lambda: list(copies(body, key="k")))
    if refused is not None:
        assert count == 0 or count > ITEMS
        assert "k.each" in refused
        return
    assert 1 <= count <= ITEMS
    assert [(values, copy["from"]) for values, copy in copies(body, key="k")] == [
        ([str(i)], [f"x{i}"]) for i in range(count)
    ]
