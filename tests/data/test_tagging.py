"""Tagged text of two domains, made up."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.tagging import ToyTwoDomainNer
from kdrun.ops.spans import mention_starts
from support.tagging import TOY, mentions


def test_toy_rows_are_as_promised(tagged_domains) -> None:
    for name, info in ToyTwoDomainNer(**TOY, seed=1).info().items():
        rows = tagged_domains[name].rows()
        for column, described in info.columns.items():
            assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
        if "tags" in rows:
            assert int(rows["tags"].max()) < info.classes
            assert torch.equal(rows["first"], rows["tags"] >= 0)
            assert torch.equal(rows["first"], rows["tokens"].ne(0).any(-1))
    assert torch.equal(
        tagged_domains["test"].rows()["tokens"], ToyTwoDomainNer(**TOY, seed=1).load()["test"].rows()["tokens"]
    )


def test_types_of_the_two_domains_are_as_like_as_asked() -> None:
    def words(likeness: float) -> tuple[torch.Tensor, torch.Tensor]:
        rows = ToyTwoDomainNer(**{**TOY, "vector": 512}, noise=0.0, likeness=likeness, seed=2).load()["target"].rows()
        named = [rows[column].eq(1) for column in ("source_tags", "tags")]  # type 1 of either domain: one vector each
        source, target = (rows["tokens"][mask] for mask in named)
        assert (source == source[0]).all()
        assert (target == target[0]).all()
        return source[0], target[0]

    torch.testing.assert_close(*words(1.0))
    for likeness in (0.0, 0.6, 0.95):
        assert float(torch.cosine_similarity(*words(likeness), dim=0)) == pytest.approx(likeness, abs=0.1)


def test_toy_mentions_are_whole_and_of_two_kinds(tagged_domains) -> None:
    rows = tagged_domains["target"].rows()
    for column in ("tags", "source_tags"):
        _, inside = mention_starts(rows[column])
        assert torch.equal(inside, rows[column] > 0)
    assert not ((rows["tags"] > 0) & (rows["source_tags"] > 0)).any()
    assert torch.equal(rows["entity"] >= 0, mentions(rows["source_tags"]))
    assert torch.equal(tagged_domains["source"].rows()["tags"], tagged_domains["source"].rows()["source_tags"])
    assert 0.8 < mentions(rows["tags"]).sum() / len(rows["tags"]) < 1.2
    seen = tagged_domains["source"].rows()["entity"]
    assert (seen[seen >= 0] % 60).max() < 40 <= (tagged_domains["test"].rows()["entity"] % 60).max()
