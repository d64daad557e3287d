"""What single recipes promise: values of a paper, rivals of the method's own size."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer


@pytest.mark.parametrize("arm", ["kd_all", "kd_teacher_confident", "oracle"])
def test_rivals_on_rows_of_the_web_answer_through_the_methods_layers(arm) -> None:
    composer = Composer.named("distillation/kd3")
    own, rival = (composer.compose(arm=name).config["graph"] for name in ("kd3", arm))
    assert rival["test"]["step"] == own["test"]["step"]
    assert rival["test"]["from"]["classifier"] == "fit_student.classifier" != own["test"]["from"]["classifier"]
    assert rival["fit_student"]["step"]["train"]["classifier"]


@pytest.mark.parametrize(
    ("arm", "weight"), [("kd_nd", 2.0), ("kd", 0.0), ("dkd_nd", 3.5), ("narrow_kd_nd", 1.5), ("narrow_kd", 0.0)]
)
def test_norm_and_direction_have_the_published_weights_at_paper_scale(arm, weight) -> None:
    config = Composer.named("distillation/nd").compose(arm=arm, scale="paper").config
    assert config["graph"]["fit_student"]["step"]["minimize"]["direction"] == weight
    assert (config["batch_size"], config["optimizer"]["lr"]) == (128, 0.1)


@pytest.mark.parametrize("recipe", ["distillation/talking_models", "distillation/downstream_distillation_leaderboard"])
def test_a_thousand_classes_have_a_labelled_row_each(recipe) -> None:
    config = Composer.named(recipe).compose(scale="paper").config
    assert config["graph"]["few"]["k"] >= 10 * config["classes"]
