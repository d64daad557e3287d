"""``${...}`` names settings and computes; whatever names what, the answer takes no longer than the file is long."""

from __future__ import annotations

import time

import pytest

from kdrun.config.resolvers import resolved
from kdrun.errors import InputError


def test_a_value_is_what_its_name_leads_to_with_its_type() -> None:
    raw = {"a": 3, "b": {"c": [1, {"d": None}]}, "x": "${a}", "y": "${b.c.1.d}", "z": "${b[c][0]}", "w": "n${a}m"}
    assert resolved(raw) == {**raw, "x": 3, "y": None, "z": 1, "w": "n3m"}


def test_names_may_be_computed_and_values_may_lead_through_values() -> None:
    raw = {"which": "small", "small": {"k": 1}, "large": {"k": 2}, "one": "${${which}}", "k": "${one.k}"}
    assert resolved(raw)["k"] == 1
    assert resolved({**raw, "which": "large"})["k"] == 2


def test_functions_compute_with_numbers_alone() -> None:
    raw = {
        "n": 7,
        "x": "${add:${n},1}",
        "y": "${floordiv:${mul:${n},4},8}",
        "z": "${if:${n},[1,${n}],{}}",
        "w": "${div:1,2}",
    }
    assert resolved(raw) == {"n": 7, "x": 8, "y": 3, "z": [1, 7], "w": 0.5}
    assert resolved({"l": [4, 9], "x": "${max:${l}}", "y": "${min:3,2,5}"})["x"] == 9


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("${mul:abc,1000000000}", "expected numbers, got 'abc'"),
        ("${mul:[1,2],1000000000}", "expected numbers, got"),
        ("${div:1,0}", "division by zero"),
        ("${div:1}", "expected two numbers, got 1"),
        ("${oc.env:HOME}", "there is no such function"),
        ("${oc.select:a}", "there is no such function"),
        ("${oc.create:a}", "there is no such function"),
        ("${nothing}", "there is no 'nothing'"),
        ("${optimizer.rl}", "there is no 'rl' in 'optimizer' (did you mean 'lr'?)"),
        ("${.a}", "a name starts at the top"),
        ("${..a}", "a name starts at the top"),
        ("${x", "cannot be read"),
        ("${}", "cannot be read"),
        ("\\${a}", "no backslash"),
        ("${if:1,[$\\{a\\}],2}", "no backslash"),
        ("$${brace}", "cannot make another"),
        ("of ${optimizer}", "is a mapping, which cannot stand inside a text"),
        ("${add:" * 300 + "1" + "}" * 300, "nested too deeply"),
        ("${add:" + "1," * 20_000 + "1}", "characters of computed expressions are more than 20000"),
    ],
)
def test_what_cannot_be_computed_is_told_with_its_key(expression, told) -> None:
    with pytest.raises(InputError) as refused:
        resolved({"a": 1, "optimizer": {"lr": 0.1}, "brace": "{a}", "data": {"limit": expression}})
    assert refused.value.key == "data.limit"
    assert told in refused.value.message
    assert "\n" not in str(refused.value)


LINES = {
    "texts": lambda i: f"${{a{i}}}${{a{i}}}",
    "lists": lambda i: [f"${{a{i}}}", f"${{a{i}}}"],
    "mappings": lambda i: {"x": f"${{a{i}}}", "y": f"${{a{i}}}"},
    "brackets": lambda i: f"${{[a{i}]}}${{[a{i}]}}",
    "computed names": lambda i: f"${{${{n{i}}}}}${{${{n{i}}}}}",
    "choices": lambda i: f"${{if:1,[${{a{i}}},${{a{i}}}],0}}",
    "numbers": lambda i: f"${{mul:${{a{i}}},${{a{i}}}}}",
    "blocks": lambda i: {"x": f"${{a{i}.x}}${{a{i}.x}}"},
    "entries": lambda i: [f"${{a{i}.0}}${{a{i}.0}}"],
}
FIRST = {"numbers": 99, "blocks": {"x": "xxxxxxxxxx"}, "entries": ["xxxxxxxxxx"]}


@pytest.mark.parametrize("form", LINES)
def test_values_that_double_are_refused_before_they_are_made(form) -> None:
    raw = {"a0": FIRST.get(form, "xxxxxxxxxx"), **{f"n{i}": f"a{i}" for i in range(60)}}
    raw.update({f"a{i + 1}": LINES[form](i) for i in range(59)})
    begun = time.process_time()
    with pytest.raises(InputError, match="are more than"):
        resolved(raw)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("form", ["texts", "lists", "mappings"])
def test_many_values_that_are_each_within_the_limits_are_counted_together(form) -> None:
    raw = {"a0": "x" * 1000, **{f"a{i + 1}": LINES[form](i) for i in range(9)}}
    with pytest.raises(InputError, match="characters of all computed values"):
        resolved({**raw, "all": ["${a9}"] * 1000})


def test_a_sum_of_sums_is_computed_once_each() -> None:
    raw = {"a0": 1, **{f"a{i + 1}": f"${{add:${{a{i}}},${{a{i}}}}}" for i in range(59)}}
    assert resolved(raw)["a59"] == 2**59


def test_a_chain_without_end_and_a_circle_are_refused() -> None:
    with pytest.raises(InputError, match="values, each named by the one before, are more than 64"):
        resolved({"a0": 1, **{f"a{i + 1}": f"${{a{i}}}" for i in reversed(range(500))}})
    with pytest.raises(InputError, match=r"these name each other: a -> b\.c -> a"):
        resolved({"a": "${b.c}", "b": {"c": "${a}"}})
    with pytest.raises(InputError, match="these name each other"):
        resolved({"a": {"x": "${a}"}})
    with pytest.raises(InputError, match="levels of a value"):
        resolved({"a0": 1, **{f"a{i + 1}": [[[f"${{a{i}}}"]]] for i in range(40)}})
