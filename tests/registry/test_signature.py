"""Parameters and inputs are checked by a part's signature."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.registry import catalog


def test_wrong_parameters_are_named_with_the_nearest_spelling() -> None:
    part = catalog().get("op", "kl_divergence")
    with pytest.raises(InputError, match="no parameter 'temprature' \\(did you mean 'temperature'\\?\\)"):
        part.validate({"temprature": 2.0}, key="k")
    with pytest.raises(InputError, match="'hot' does not fit temperature"):
        part.validate({"temperature": "hot"}, key="k")
    with pytest.raises(InputError, match="greater than 0"):
        part.validate({"temperature": 0}, key="k")


def test_inputs_bind_by_order_or_by_name() -> None:
    part = catalog().get("op", "relational_distance_loss")
    assert part.bind(["a", "b"], key="k") == part.bind({"teacher": "b", "student": "a"}, key="k")
    with pytest.raises(InputError, match="takes 2 inputs"):
        part.bind(["a", "b", "c"], key="k")
    with pytest.raises(InputError, match="lacks its input 'teacher'"):
        part.bind(["a"], key="k")


@pytest.mark.parametrize(
    ("model", "said", "place"),
    [
        ("cifar_resnet", {"depth": 50_006}, "depth"),
        ("mlp", {"hidden": [8] * 10_001}, "hidden"),
        ("transformers", {"name": "gpt2", "config": {"n_layer": 50_001}}, "config.n_layer"),
        ("timm", {"name": "resnet18", "options": {"depths": [50_000, 1]}}, "options.depths"),
    ],
)
def test_what_a_model_repeats_is_counted_before_it_is_built(model: str, said: dict, place: str) -> None:
    with pytest.raises(InputError, match="are more than (50000|10000)") as refused:
        catalog().get("model", model).validate(said, key="student", later=("num_classes",))
    assert refused.value.key == f"student.{place}"


def test_sizes_are_no_repetitions() -> None:
    said = {"name": "gpt2", "config": {"n_layer": 2, "vocab_size": 250_000, "n_positions": 131_072}}
    assert catalog().get("model", "transformers").validate(said, key="student") == said
    assert catalog().get("model", "mlp").validate({"hidden": [10**6]}, key="student") == {"hidden": [10**6]}
