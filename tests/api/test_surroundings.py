"""A process in which many things run: no call meets what another one, or the program around it, set."""

from __future__ import annotations

import asyncio
import gc

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import kdrun
from kdrun.errors import InputError
from kdrun.registry import catalog

PLUGIN = '''from torch import Tensor
from kdrun.registry import op
@op
def my_cross_entropy(logits: Tensor, label: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy."""
    import torch
    return torch.nn.functional.cross_entropy(logits, label, label_smoothing=label_smoothing)
'''


def test_threads_and_random_streams_are_the_callers(tmp_path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.manual_seed(1)
    expected = torch.rand(4, generator=torch.Generator().manual_seed(1))
    try:
        kdrun.run("kd", arm="scratch", scale="smoke", store=tmp_path)
        assert torch.get_num_threads() == 3
        assert torch.equal(torch.rand(4), expected)
    finally:
        torch.set_num_threads(before)


def test_parts_of_a_plugin_serve_the_calls_that_name_it_alone(tmp_path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN)
    change = ["fit_student.step.nodes.ce.op=my_cross_entropy"]
    mine = kdrun.run("kd", change, arm="scratch", scale="smoke", store=tmp_path / "store", plugins=[plugin])
    assert catalog().find("op", "my_cross_entropy") is None
    assert mine.model("fit_student") is not None, "and go on serving the result's own"
    with pytest.raises(InputError, match="my_cross_entropy"):
        kdrun.compose("kd", change, arm="scratch", scale="smoke").check()
    shipped = kdrun.run("kd", arm="scratch", scale="smoke", store=tmp_path / "store")
    assert mine.metrics == shipped.metrics
    assert mine.session.keys["fit_student"] != shipped.session.keys["fit_student"]


def test_a_run_inside_a_running_event_loop_and_in_threads_gives_the_same(finished, tmp_path) -> None:
    async def one(store: str) -> dict[str, float]:
        return await asyncio.to_thread(lambda: kdrun.run("kd", arm="kd", scale="smoke", store=tmp_path / store).metrics)

    async def both() -> list[dict[str, float]]:
        direct = kdrun.run("kd", arm="kd", scale="smoke", store=tmp_path / "a").metrics
        return [direct, *await asyncio.gather(one("b"), one("c"))]

    assert asyncio.run(both()) == [finished.metrics] * 3


def test_a_hydra_that_the_program_uses_stays_as_it_is(tmp_path) -> None:
    import hydra

    (tmp_path / "own.yaml").write_text("x: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        kdrun.run("kd", arm="scratch", scale="smoke", store=tmp_path / "store")
        assert hydra.compose("own").x == 1
    assert not GlobalHydra.instance().is_initialized()


def test_resolvers_that_the_program_registered_go_on_working(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OF_THE_PROGRAM", "7")
    OmegaConf.register_new_resolver("twice", lambda value: 2 * value)
    try:
        kdrun.run("kd", arm="scratch", scale="smoke", store=tmp_path)
        found = OmegaConf.create({"a": "${twice:4}", "b": "${oc.env:OF_THE_PROGRAM}"})
        assert (found.a, found.b) == (8, "7")
        with pytest.raises(InputError, match="twice"):
            kdrun.compose("kd", {"epochs": "${twice:4}"})
    finally:
        OmegaConf.clear_resolver("twice")


def test_a_process_holds_no_more_after_the_tenth_call_than_after_the_third(shared_store, finished, tmp_path) -> None:
    def objects_after(calls: int) -> int:
        for _ in range(calls):
            composed = kdrun.compose("kd", arm="kd", scale="smoke", store=shared_store)
            kdrun.run(composed, runs=tmp_path).model("fit_student")
        del composed
        gc.collect()
        return len(gc.get_objects())

    first = objects_after(3)
    assert objects_after(7) - first < 200
