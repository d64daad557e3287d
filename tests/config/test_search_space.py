"""What a search chooses among, as people write it."""

from __future__ import annotations

import pytest

from kdrun.config.search_space import Knob, parse_space
from kdrun.errors import InputError


def knob(text: str) -> Knob:
    (found,), _ = parse_space([text], None, None)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,2", Knob("a", choices=("1", "2"))),
        ("a=choice(kd,'x y',[1,2])", Knob("a", choices=("kd", r"x\ y", "[1,2]"))),
        ("a=range(1,4)", Knob("a", low=1, high=3, step=1)),
        ("a=range(9,1,-4)", Knob("a", low=5, high=9, step=4)),
        ("a=range(0,1,0.25)", Knob("a", low=0.0, high=0.75, step=0.25)),
        ("a=interval(0,1)", Knob("a", low=0.0, high=1.0)),
        ("a=int(interval(1,8))", Knob("a", low=1, high=8, step=1)),
        ("a=tag(log,interval(0.001,1))", Knob("a", low=0.001, high=1.0, log=True)),
        ("a=tag(log,int(interval(1,64)))", Knob("a", low=1, high=64, step=1, log=True)),
        ("+a.b=interval(-1,1)", Knob("+a.b", low=-1.0, high=1.0)),
    ],
)
def test_the_grammar_of_overrides_says_what_is_searched(text: str, expected: Knob) -> None:
    assert knob(text) == expected


def test_settings_of_the_sweeper_are_weaker_than_the_command_line() -> None:
    knobs, fixed = parse_space(
        ["b=range(1,3)", "seed=4", "c=7"], {"a": "interval(0,1)", "b": "choice(8,9)", "d": 5}, None
    )
    assert [one.key for one in knobs] == ["a", "b"]
    assert knobs[1].whole
    assert fixed == ["d=5", "seed=4", "c=7"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed=0,1", "does not choose seeds"),
        ("a=3", "needs something to choose"),
        ("a=tag(log,interval(0,1))", "numbers above 0"),
        ("a=tag(log,range(1,9,2))", "without steps"),
        ("a=interval(2,1)", "from a lower to an upper end"),
        ("a=range(3,3)", "is empty"),
    ],
)
def test_what_cannot_be_searched_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        knob(text)


def test_values_become_overrides_and_others_are_refused() -> None:
    assert knob("a=int(interval(1,8))").override(3) == "a=3"
    assert knob("a=interval(0,1)").override(0.1) == "a=0.1"
    assert knob("a=choice(x,'y z')").override(r"y\ z") == r"a=y\ z"
    for text, value in (("a=choice(x,y)", "x plugins=[evil.py]"), ("a=interval(0,1)", 2.0)):
        with pytest.raises(InputError, match="not among what is searched"):
            knob(text).override(value)
    assert knob("a=range(0,1,0.25)").values() == [0.0, 0.25, 0.5, 0.75]
    with pytest.raises(InputError, match="a grid goes by steps"):
        knob("a=interval(0,1)").values()
