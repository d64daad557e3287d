"""Methods of source-free adaptation: what they buy, what they cost, and what a scheduled strength begins with."""

from __future__ import annotations

import itertools

import pytest
import torch

from kdrun.grammar.nodes import Ref

SMALL = ["data.per_class=12", "fit_source.epochs=1", "epochs=1", "wanted.from=[target.valid]"]


def test_rounds_are_planned_before_anybody_knows_what_they_buy(session) -> None:
    stages = {s.name: s for s in session("adaptation/lftl").plan().stages}
    flops = [stages[f"active[{i}].model"].flops for i in range(5)]
    assert flops[0] > 0
    assert len(set(flops)) == 1


@pytest.mark.parametrize("arm", ["lftl", "core_set"])
def test_what_is_bought_stays_and_is_no_row_that_is_judged(session, arm) -> None:
    ready = session("adaptation/lftl", *SMALL, "rounds=3", arm=arm)
    ready.run()
    labelled = [ready.executor.value(Ref(f"active[{i}].labelled")) for i in range(3)]
    rest = ready.executor.value(Ref("active[2].rest"))
    assert [len(rows) for rows in labelled] == [5, 10, 15]
    for first, second in itertools.pairwise(labelled):
        assert torch.isin(first.column("index"), second.column("index")).all()
    assert len(rest) == 200 - 15
    assert not torch.isin(rest.column("index"), labelled[2].column("index")).any()
    images = ready.executor.value(Ref("judged")).rows()["image"].flatten(1)
    assert (torch.cdist(images, labelled[2].rows()["image"].flatten(1)) > 0).all()


def test_without_its_two_terms_implicit_augmentation_is_spectral_clustering(session) -> None:
    short = [*SMALL, "transfer=source_free/spectral_clustering"]
    plain = session("adaptation/sfda2", *short)
    none = session(
        "adaptation/sfda2", *SMALL, "transfer.augmentation_weight=0.0", "transfer.disentanglement_weight=0.0"
    )
    first, second = (ready.executor.value(Ref("adapt")).state for ready in (plain, none))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    only = session("adaptation/sfda2", *SMALL, "transfer.disentanglement_weight=0.0", "transfer.strength=50.0")
    third = only.executor.value(Ref("adapt")).state
    assert not torch.equal(third["head.direction"], first["head.direction"])
