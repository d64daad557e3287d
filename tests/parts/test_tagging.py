"""Tags made for a second stage: few shots, scattered and foreign mentions."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.errors import InputError
from kdrun.parts.tagging import few_shot_by_tag, foreign_as_class, scattered_mentions
from support.contexts import stage_context
from support.data import dataset
from support.tagging import mentions


def test_few_shot_rows_hold_every_tag(tagged_domains) -> None:
    generator = torch.Generator().manual_seed(0)
    few = few_shot_by_tag(tagged_domains["target"], share=0.2, generator=generator)
    tags = few.rows()["tags"]
    present = tagged_domains["target"].rows()["tags"].clamp_min(0).unique()
    assert len(few) <= 30
    for tag in present[present > 0]:
        assert (tags == tag).any(1).sum() >= 5
    everything = few_shot_by_tag(tagged_domains["target"], share=1.0, generator=generator)
    assert 30 < len(everything) <= 150
    assert len(everything.rows()["index"].unique()) == len(everything)


def labelled(tagged_domains) -> MemoryDataset:
    rows = tagged_domains["target"].rows()
    return tagged_domains["target"].with_columns({"pseudo": rows["source_tags"]})


def test_scattered_mentions_keep_number_and_lengths_and_spare_gold(tagged_domains) -> None:
    data = labelled(tagged_domains)
    before = data.rows()
    after = scattered_mentions(data, generator=torch.Generator().manual_seed(0)).rows()["pseudo"]
    assert not torch.equal(after, before["pseudo"])
    assert torch.equal(after < 0, before["tags"] < 0)
    assert not ((after > 0) & (before["tags"] > 0)).any()
    for old, new in zip(before["pseudo"], after, strict=True):
        assert torch.equal(old[old > 0].sort().values, new[new > 0].sort().values)
        assert int(mentions(old[None]).sum()) == int(mentions(new[None]).sum())


def test_foreign_mentions_become_one_more_type(tagged_domains) -> None:
    rows = foreign_as_class(labelled(tagged_domains))
    tags, own, foreign = (rows.rows()[c] for c in ("tags", "source_tags", "pseudo"))
    assert rows.info.classes == 9
    assert torch.equal(mentions(torch.where(tags > 6, tags, 0)), mentions(own))
    assert torch.equal(tags > 6, foreign > 0)


def test_stage_two_starts_from_stage_one_with_a_new_head_and_pseudo_tags_beside_gold(session) -> None:
    from kdrun.grammar.nodes import Ref

    ready = session(
        "name_tagging", "fit_source.epochs=1", "fit_target.epochs=1", "data.source=64", "data.target=64", "data.test=40"
    )
    ready.run()
    first, start = (ready.executor.value(Ref(n)).state for n in ("fit_source", "start"))
    assert first["head.weight"].shape[0] == 9
    assert start["head.weight"].shape[0] == 7
    assert all(torch.equal(first[k], start[k]) for k in first if not k.startswith("head."))
    rows = ready.executor.value(Ref("seen")).rows()
    assert not ((rows["pseudo"] > 0) & (rows["tags"] != 0)).any()


def test_a_new_head_needs_a_model_with_one() -> None:
    from kdrun.parts.tagging import new_head

    data = dataset(3, tags=torch.zeros(2, 3))
    with pytest.raises(InputError, match="needs a model with num_classes"):
        new_head(torch.nn.Linear(2, 2), data, context=stage_context())
