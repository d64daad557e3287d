"""Every transfer method, on several pairs of architectures."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError

ZOO = Composer.named("zoo").base().config["arms"]

METHODS = sorted(arm.get("transfer", "kd") for arm in ZOO.values())

PAIRS = {
    "convolutional": ("cnn_wide", "cnn_tiny"),
    "to a transformer": ("cnn_wide", "vit_tiny"),
    "from a transformer": ("vit_tiny", "cnn_tiny"),
    "transformers": ("vit_tiny", "vit_tiny"),
}

NOT_DEFINED = {
    "boundary": "has no module 'map_2_pre'",  # a transformer's tokens do not pass a ReLU
    "bottleneck": "map_2",  # tokens cannot be replaced by a map
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("method", METHODS)
def test_methods_plan_for_pairs_of_architectures_or_say_why_not(session, method, pair) -> None:
    teacher, student = PAIRS[pair]
    ready = session("kd", f"transfer={method}", f"teacher={teacher}", f"student={student}")
    reads_tokens = "vit_tiny" in ((teacher,) if method == "bottleneck" else (teacher, student))
    if method in NOT_DEFINED and reads_tokens:
        with pytest.raises(InputError, match=NOT_DEFINED[method]):
            ready.plan()
    else:
        stages = {s.name: s for s in ready.plan().stages}
        assert stages["fit_student"].flops > 0


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_methods_run(session, method) -> None:
    metrics = session("kd", f"transfer={method}", "epochs=1", "data.limit=192").run().metrics
    assert 0 <= metrics["test.accuracy"] <= 1
