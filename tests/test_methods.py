"""Every transfer method, on several pairs of architectures: it plans, or says why it is not defined."""

from __future__ import annotations

import pytest

from kdrun.config.paths import group_options
from kdrun.errors import InputError
from kdrun.graph.nodes import Ref

METHODS = sorted(set(group_options("transfer")) - {"own"})
NEED_MAPS = {"attention", "boundary", "channels", "hint", "similarity", "variational"}


@pytest.mark.parametrize("method", METHODS)
def test_methods_plan_between_convolutional_networks(session, method) -> None:
    stages = {s.name: s for s in session("kd", f"transfer={method}").plan().stages}
    assert stages["fit_student"].flops > 0


@pytest.mark.parametrize("method", METHODS)
def test_methods_hold_from_a_convolutional_teacher_to_a_transformer_or_say_why_not(session, method) -> None:
    ready = session("kd", f"transfer={method}", "student=vit_tiny")
    if method in NEED_MAPS:
        with pytest.raises(InputError, match="model 'vision_transformer' has no module 'map"):
            ready.plan()
    else:
        ready.plan()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_methods_run(session, method) -> None:
    metrics = session("kd", f"transfer={method}", "epochs=1", "data.limit=192").run().metrics
    assert 0 <= metrics["test.accuracy"] <= 1


def test_an_update_may_train_a_part_of_a_model(session) -> None:
    part = "graph.fit_student.step.updates.main.train=[student.head]"
    ready = session("kd", "transfer=none", "epochs=1", part)
    ready.run()
    after = ready.executor.value(Ref("fit_student")).state
    whole = session("kd", "transfer=none", "epochs=1", part, "optimizer.lr=1e-9")
    whole.run()
    before = whole.executor.value(Ref("fit_student")).state
    assert (after["blocks.0.1.weight"] == before["blocks.0.1.weight"]).all()
    assert not (after["head.weight"] == before["head.weight"]).all()
    with pytest.raises(InputError, match="'student.hed' names no parameters"):
        session("kd", "transfer=none", "graph.fit_student.step.updates.main.train=[student, student.hed]").plan()
