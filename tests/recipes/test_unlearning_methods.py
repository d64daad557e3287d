"""What methods of unlearning train, and what they leave alone."""

from __future__ import annotations

import pytest

QUICK = ("original.steps=2", "unlearn_steps=2", "data.contexts=64", "data.test_contexts=8")


def run(session, arm: str, *more: str) -> dict[str, float]:
    return session("unlearning/llm_unlearning_survey", *QUICK, *more, arm=arm).run().metrics


def test_layers_leave_the_weights_alone_and_a_context_all(session) -> None:
    layers = run(session, "adapter")
    assert layers["changed.parameters"] == 2 * (2 * 64 * 8 + 64 + 8)
    context = run(session, "in_context")
    assert context["changed.parameters"] == 0


@pytest.mark.parametrize("factor", [-2.0, 0.0])
def test_a_negation_of_factor_zero_is_the_original(session, factor) -> None:
    found = run(session, "modules", f"transfer.factor={factor}")
    assert (found["changed.parameters"] == 0) == (factor == 0.0)


def test_neurons_are_removed_as_columns_of_the_second_layer(session) -> None:
    found = run(session, "neurons", "transfer.neurons=3", "transfer.share=0.0")
    assert found["changed.parameters"] == 3 * 64


def test_wrong_labels_train_adapters_alone(session) -> None:
    found = run(session, "random_labels")
    linear = 2 * (3 * 64 * 64 + 64 * 64 + 2 * 4 * 64 * 64)
    assert 0 < found["changed.parameters"] <= linear
