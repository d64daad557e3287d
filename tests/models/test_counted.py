"""Weights are counted while a model is built on the meta device, rows and numbers when a run is planned."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.building import build
from support.recipes import ALONE, NO_TRANSFER, write_recipe


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"model": "mlp", "hidden": [1_000_000, 1_000_000]}, "parameters of a model are more than"),
        ({"model": "mlp", "hidden": [10**18, 10**18]}, "refuses its parameters"),
        ({"model": "mlp", "hidden": [8] * 60_000}, "tensors in the weights of a model are more than 50000"),
    ],
)
def test_a_model_beyond_any_memory_is_refused_before_memory_is_taken(spec, told) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=told):
        build({**spec, "in_features": 4, "num_classes": 2})
    assert not torch.nn.modules.module._global_parameter_registration_hooks


@pytest.mark.parametrize(
    ("header", "body", "told"),
    [
        (NO_TRANSFER, "student: {model: mlp, hidden: [1000000, 1000000]}\n", "parameters of a model"),
        (NO_TRANSFER, "data: {data: glyphs, size: 1000000}\n", "numbers in a row's 'image'"),
        (NO_TRANSFER, "data: {data: glyphs, per_class: 1000000000000}\n", "rows of a data set"),
        (NO_TRANSFER, "batch_size: 1000000000000000000\n", "larger than any memory"),
        (ALONE, "graph: {n: {op: constant, shape: [1000000000, 1000000000]}}\n", "numbers in a tensor|larger than any"),
    ],
)
def test_a_plan_counts_before_a_run_takes_memory(kdrun, tmp_path, header, body, told) -> None:
    import re

    for command in ("plan", "run"):
        answer = kdrun(command, write_recipe(tmp_path, body, header))
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
        assert re.search(told, answer.err), answer.err
