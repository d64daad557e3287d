"""Methods of a protocol: building on another, changing between them, and where one does not fit."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.graph.check import check
from support.recipes import composed


def test_a_method_of_another_protocol_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="is a method of another protocol than 'distillation'"):
        composed(tmp_path, "", "transfer=unlearning/nothing")


def test_a_transfer_method_builds_on_another_one() -> None:
    graph = Composer.named("kd", ["transfer=norm_direction"]).base().config["graph"]
    assert set(graph["fit_student"]["step"]["nodes"]) == {"s", "ce", "t", "kd", "e", "direction"}
    assert graph["fit_student"]["step"]["train"] == {"student": True, "embed": True}


def test_another_method_of_a_protocol_leaves_none_of_the_recipes_values_for_the_first(tmp_path) -> None:
    body = "transfer: {label_smoothing: 0.3}\narms: {kd: {transfer: kd}, sure: {transfer: kd, transfer.temperature: 1.0}}\n"
    assert composed(tmp_path, body)["transfer"] == {"label_smoothing": 0.3}
    assert "label_smoothing" not in composed(tmp_path, body, arm="kd")["transfer"]
    assert composed(tmp_path, body, arm="sure")["transfer"]["temperature"] == 1.0


def test_a_method_that_does_not_fit_the_data_says_so() -> None:
    experiment = Composer.named("loku", ["data=digits"]).compose()
    with pytest.raises(InputError) as caught:
        check(experiment.config)
    message = str(experiment.explain(caught.value))
    assert "'data' has no field 'reading'" in message
    assert "does not fit data=digits: kdrun list methods unlearning says what it reads" in message
