"""Sentences with latent attributes: what can be read from their words, and what cannot."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.latent_sentences import COMMON, LATENTS, OWN, SPECIAL, LatentAttributeText
from kdrun.errors import DataError

START = SPECIAL + COMMON


def test_splits_are_as_they_were_said_to_be_and_drawn_by_the_seed() -> None:
    part = LatentAttributeText(text_rows=40, source_rows=20, target_rows=8, valid_rows=5, test_rows=6, seed=3)
    info, splits, again = part.info(), part.load(), part.load()
    for name in ("sources", "targets"):
        for said, found, same in zip(info[name], splits[name], again[name], strict=True):
            for split, rows in found.items():
                assert said[split].size == len(rows) == len(same[split])
                assert said[split].classes == found["test"].info.classes
                assert torch.equal(rows.rows()["tokens"], same[split].rows()["tokens"])
    other = LatentAttributeText(text_rows=40, source_rows=20, target_rows=8, valid_rows=5, test_rows=6, seed=4).load()
    assert not torch.equal(other["text"].rows()["tokens"], splits["text"].rows()["tokens"])
    assert [t["train"].info.classes for t in splits["targets"]] == [3, 4, 4]
    tokens = splits["text"].rows()["tokens"]
    assert (int(tokens.min()) >= SPECIAL, int(tokens.max()) < part.vocabulary) == (True, True)


def test_clear_words_tell_the_topic_and_unclear_ones_tell_nothing() -> None:
    rows = LatentAttributeText(sources=["topic"], clear=1.0, source_rows=200).load()["sources"][0]["train"].rows()
    own = (rows["tokens"] >= START) & (rows["tokens"] < START + OWN * LATENTS["topic"])
    assert bool((own.sum(1) == 4).all())
    topic = ((rows["tokens"] - START) // OWN).where(own, 0).amax(1)
    assert torch.equal(topic, rows["label"])
    blank = LatentAttributeText(sources=["topic"], clear=0.0, source_rows=50).load()["sources"][0]["train"].rows()
    assert bool((blank["tokens"] < START).all())
    hinted = LatentAttributeText(sources=["topic"], clear=0.6, source_rows=4000).load()["sources"][0]["train"].rows()
    assert (hinted["tokens"] >= START).double().mean().item() == pytest.approx(0.6, abs=0.01)


def test_tones_have_other_words_in_the_other_domain_and_classes_merge_or_multiply() -> None:
    part = LatentAttributeText(sources=["tone", "topic", "tense+style"], targets=["tone@1", "topic/4"], clear=1.0)
    splits = part.load()
    first = START + OWN * LATENTS["topic"]
    for domain, task in enumerate((splits["sources"][0], splits["targets"][0])):
        tokens = task["test"].rows()["tokens"]
        own = (tokens >= first + 36 * domain) & (tokens < first + 36 * (domain + 1))
        assert bool((own.sum(1) == 2).all())
        value = ((tokens - first) // OWN - 3 * domain).where(own, 0).amax(1)
        assert torch.equal(value, task["test"].rows()["label"])
    rows = splits["targets"][1]["test"].rows()
    topic = ((rows["tokens"] - START) // OWN).where(rows["tokens"] < first, 0).amax(1)
    assert torch.equal(topic // 2, rows["label"])
    assert splits["sources"][2]["test"].rows()["label"].bincount().min() > 400


@pytest.mark.parametrize("task", ["tonne", "topic/1", "topic/9", "tone@2", "topic+", "Topic!"])
def test_a_task_that_is_not_there_is_refused(task) -> None:
    with pytest.raises(DataError):
        LatentAttributeText(targets=[task])
