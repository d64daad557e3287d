"""Classifiers that forget: what is read of the rows, and that no label is."""

from __future__ import annotations

import re

import pytest
import torch

from kdrun.config.compose import Composer
from kdrun.grammar.nodes import Ref

RECIPE = "unlearning/laf"
QUICK = ("epochs=1", "density_epochs=1", "unlearn_epochs=1", "results=[unlearn]")


def unlearned(session, *overrides: str) -> dict[str, torch.Tensor]:
    ready = session(RECIPE, *QUICK, *overrides, arm="laf")
    ready.run()
    return dict(ready.executor.value(Ref("unlearn", ())).state)


@pytest.mark.parametrize("seed", [0, 7, 105, 213])
def test_the_class_to_forget_is_the_last_digit_of_the_seed(seed) -> None:
    graph = Composer.named(RECIPE).compose(arm="laf", seed=seed).config["graph"]
    assert graph["forget"]["classes"] == graph["test_forget"]["classes"] == [seed % 10]


def test_the_method_reads_no_label() -> None:
    graph = Composer.named(RECIPE).compose(arm="laf").config["graph"]
    for name in ("all_density", "own_density", "unlearn"):
        assert not re.search(r"\blabel\b", str(graph[name]["step"])), name
    assert re.search(
        r"\blabel\b", str(Composer.named(RECIPE).compose(arm="finetuning").config["graph"]["unlearn"]["step"])
    )


def test_rivals_take_as_many_steps_at_rates_of_their_own() -> None:
    composer = Composer.named(RECIPE)
    own = composer.compose(arm="laf").config["graph"]["unlearn"]
    for arm in ("finetuning", "gradient_ascent", "gradient_difference", "random_labels"):
        rival = composer.compose(arm=arm).config["graph"]["unlearn"]
        assert (rival["epochs"], rival["batch_size"], rival["from"]["data"]) == (
            own["epochs"],
            own["batch_size"],
            "forget",
        )


@pytest.mark.slow
def test_wrong_labels_leave_the_same_weights_to_the_last_bit(session) -> None:
    right = unlearned(session)
    wrong = unlearned(
        session,
        "+graph.wrong_all={stage: corrupt, by: permuted_columns, from: [data.train], columns: [label]}",
        "+graph.wrong_forget={stage: corrupt, by: permuted_columns, from: [forget], columns: [label]}",
        "+graph.wrong_retain={stage: corrupt, by: permuted_columns, from: [retain], columns: [label]}",
        "all_density.from.data=wrong_all",
        "own_density.from.data=wrong_forget",
        "unlearn.from.data=wrong_forget",
        "unlearn.from.retain=wrong_retain",
    )
    assert all(torch.equal(value, wrong[name]) for name, value in right.items())
    other = unlearned(session, "unlearn.from.data=retain")
    assert any(not torch.equal(value, other[name]) for name, value in right.items())


@pytest.mark.slow
def test_the_head_stays_until_it_is_repaired(session) -> None:
    ready = session(RECIPE, *QUICK[:-1], "results=[repaired]", arm="laf_repaired")
    ready.run()
    original, unlearn, repaired = (
        ready.executor.value(Ref(name, ())).state for name in ("original", "unlearn", "repaired")
    )
    moved = {n.partition(".")[0] for n, v in unlearn.items() if not torch.equal(v, original[n])}
    assert moved == {"backbone", "bottleneck"}
    assert {n.partition(".")[0] for n, v in repaired.items() if not torch.equal(v, unlearn[n])} == {"head"}
