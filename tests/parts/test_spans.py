"""Mentions made for a second stage, and spans of text that are private."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.dataset import MemoryDataset
from kdrun.data.text import TextCorpus
from kdrun.data.tokenizers import tokenizer
from kdrun.errors import InputError
from kdrun.parts.spans import few_shot_by_tag, foreign_as_class, privacy_spans, scattered_mentions
from support.contexts import stage_context
from support.tagging import mentions
from support.text import TINY


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


def row_of(text: str) -> MemoryDataset:
    ids = torch.tensor([tokenizer("characters").encode(text)])
    columns = {"tokens": ids[:, :-1], "target": ids[:, 1:], "secret": torch.zeros_like(ids[:, 1:])}
    return MemoryDataset(columns, TextCorpus().info()["train"])


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("code 123 of a", "123"),
        ("call 12-34 5 now", "12-34 5"),
        ("1 is alone, v2", ""),
        ("mail a.b@c.org!", "a.b@c.org"),
        ("77 comes first", "7"),  # the first token of a row is no target
    ],
)
def test_patterns_mark_the_predicted_token(text, private) -> None:
    marked = privacy_spans(row_of(text), context=stage_context()).rows()
    pieces = tokenizer("characters").pieces()
    found = "".join(pieces[i] for i in marked["target"][marked["rho"] == 1].tolist())
    assert found == private
    assert marked["rho"].shape == marked["target"].shape


def test_patterns_are_a_parameter_and_must_be_regular() -> None:
    marked = privacy_spans(row_of("x yes x"), patterns=["yes"], context=stage_context()).rows()
    assert marked["rho"].tolist() == [[0, 1, 1, 1, 0, 0]]
    with pytest.raises(InputError, match="no regular expression"):
        privacy_spans(row_of("abc"), patterns=["("], context=stage_context())
    with pytest.raises(InputError, match="a learned detector is a model"):
        privacy_spans(row_of("abc"), detector="learned", context=stage_context())


def test_the_oracle_knows_what_was_inserted() -> None:
    train = CanaryCorpus(**TINY).load()["train"]
    marked = privacy_spans(train, detector="oracle", context=stage_context()).rows()
    assert torch.equal(marked["rho"], marked["secret"].float())
