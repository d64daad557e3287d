"""Every transfer method, on several pairs of architectures: it plans, or says why it is not defined."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref

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


def test_an_update_may_train_a_part_of_a_model(session) -> None:
    key = "fit_student.step.train"
    part = (f"{key}.student=false", f"{key}={{student.head: true}}")
    ready = session("kd", "transfer=none", "epochs=1", *part)
    ready.run()
    after = ready.executor.value(Ref("fit_student")).state
    whole = session("kd", "transfer=none", "epochs=1", *part, "optimizer.lr=1e-9")
    whole.run()
    before = whole.executor.value(Ref("fit_student")).state
    assert (after["blocks.0.1.weight"] == before["blocks.0.1.weight"]).all()
    assert not (after["head.weight"] == before["head.weight"]).all()
    with pytest.raises(InputError, match="'student.hed' names no parameters"):
        session("kd", "transfer=none", f"{key}={{student.hed: true}}").plan()
