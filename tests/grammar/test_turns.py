"""Updates that take turns: phases and their ends."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.grammar.turns import Alternation, Phase, parse_phases


def test_a_phase_ends_at_its_threshold_or_its_last_step() -> None:
    turns = Alternation([Phase(("a",), 3, "x", True, 1.0), Phase(("b",), None, "y", False, 0.5)])
    seen = []
    for terms in ({"x": 0.5}, {"x": 1.5}, {"y": 0.9}, {"y": 0.4}, {"x": 0.0}, {"x": 0.0}, {"x": 0.0}):
        seen.append("".join(name for name in "abc" if turns.allows(name)))
        turns.advance(terms)
    assert seen == ["ac", "ac", "bc", "bc", "ac", "ac", "ac"]
    assert turns.allows("b")


def test_a_phase_of_epochs_ends_between_two_of_them() -> None:
    turns = Alternation([Phase(("a",), epochs=2), Phase(("b",), epochs=1)])
    seen = []
    for epoch in (0, 0, 1, 1, 2, 2, 3):
        turns.reach(epoch)
        seen.append("a" if turns.allows("a") else "b")
        kept = turns.state()
        turns.advance({})
        again = Alternation(turns.phases)
        again.restore(kept)
        again.advance({})
        assert again.state() == turns.state()
    assert seen == ["a", "a", "a", "a", "b", "b", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"updates": ["a"], "at_most": 1}], "two phases or more"),
        ([{"updates": ["a"]}, {"updates": ["b"], "at_most": 1}], "never ends"),
        ([{"updates": ["c"], "at_most": 1}, {"updates": ["b"], "at_most": 1}], "there is no update 'c'"),
        ([{"updates": ["a"], "until": {"above": ["y", 1]}}, {"updates": ["b"], "at_most": 1}], "does not compute it"),
        ([{"updates": ["a"], "until": {"over": ["x", 1]}}, {"updates": ["b"], "at_most": 1}], "until reads"),
        ([{"updates": ["a"], "at_most": 0}, {"updates": ["b"], "at_most": 1}], "a number of steps"),
        ([{"updates": ["a"], "epochs": 0}, {"updates": ["b"], "at_most": 1}], "a number of epochs"),
        ([{"updates": ["a"], "at_mots": 1}, {"updates": ["b"], "at_most": 1}], "did you mean 'at_most'"),
    ],
)
def test_malformed_turns(content, message) -> None:
    with pytest.raises(InputError, match=message):
        parse_phases(content, {"a": {"x": 1.0}, "b": {"y": 1.0}}, key="k")
