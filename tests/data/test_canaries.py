"""Secrets inserted into text, and the candidates that they are ranked among."""

from __future__ import annotations

import torch

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.tokenizers import tokenizer
from support.text import TINY, assert_text_as_promised, text_of


def test_canaries_stand_as_often_as_asked_with_their_secret_marked() -> None:
    part = CanaryCorpus(**TINY)
    splits = assert_text_as_promised(part)
    text = text_of(splits["train"])
    rows = splits["candidates"].rows()
    true = [part.secret(int(p)) for p in _true_numbers(rows, 100)]
    for sentence, secret in zip(part.sentences, true, strict=True):
        assert text.count(sentence.replace("{secret}", f"{secret}\n")) in (4, 5)  # the last block may be cut
        assert sentence.split("{secret}")[0] not in text_of(splits["clean"]) + text_of(splits["test"])
    marked = splits["train"].rows()["target"][splits["train"].rows()["secret"] == 1]
    shown = "".join(tokenizer("characters").pieces()[i] for i in marked.tolist())
    assert len(shown) in range(27, 31)
    assert set(shown) <= set("0123456789")
    assert part.load()["train"].rows()["tokens"].equal(splits["train"].rows()["tokens"])
    assert not CanaryCorpus(**TINY, seed=1).load()["train"].rows()["tokens"].equal(splits["train"].rows()["tokens"])


def _true_numbers(rows, space: int) -> list[int]:
    pieces = tokenizer("characters").pieces()
    found = rows["inserted"] == 1
    marked = zip(rows["target"][found], rows["secret"][found], strict=True)
    secrets = ["".join(pieces[i] for i in target[secret == 1]) for target, secret in marked]
    return [int(s) % space for s in secrets]


def test_other_secrets_stand_at_the_same_places() -> None:
    splits = CanaryCorpus(**TINY).load()
    train, other = splits["train"].rows(), splits["other"].rows()
    same = train["target"] == other["target"]
    assert same[train["secret"] == 0].all()
    assert torch.equal(train["secret"], other["secret"])
    assert not same[train["secret"] == 1].all()


def test_candidates_are_all_secrets_after_the_same_prefix() -> None:
    part = CanaryCorpus(**TINY)
    rows = part.load()["candidates"].rows()
    for canary in range(3):
        own = rows["canary"] == canary
        assert int(rows["inserted"][own].sum()) == 1
        secrets = rows["target"][own][rows["secret"][own] == 1].view(100, 2)
        assert len(secrets.unique(dim=0)) == 100
        start = int(rows["secret"][own][0].argmax())
        assert len(rows["tokens"][own][:, : start + 1].unique(dim=0)) == 1
    few = CanaryCorpus(**TINY, max_candidates=7).load()["candidates"].rows()
    assert len(few["canary"]) == 21
    assert int(few["inserted"].sum()) == 3
