"""Filters around a language model: what they refuse depends on what is said, not on what the model has learned."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_stated_facts_are_refused_and_renamed_or_other_ones_are_not(session) -> None:
    found = session("unlearning/ununlearning", "original.steps=4", "oracle.steps=4", arm="original").run().metrics
    assert found["direct.stated"] == 1.0
    assert found["direct.past_input"] == 0.0
    assert [found[f"{name}.stated"] for name in ("closed", "harmless", "alias", "alias_asked")] == [0.0] * 4


@pytest.mark.slow
def test_a_model_that_knows_the_facts_says_none_past_the_filter_of_answers(session) -> None:
    found = session("unlearning/ununlearning", "original.steps=300", "oracle.steps=4", arm="original").run().metrics
    assert found["forget.accuracy"] > 0.9
    assert (found["closed.caught"], found["closed.past_output"]) == (found["forget.accuracy"], 0.0)
    assert found["closed.past_input"] == found["forget.accuracy"]
