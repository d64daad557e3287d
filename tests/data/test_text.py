"""Text in blocks, canaries, and tokenizers."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.dataset import MemoryDataset
from kdrun.data.docstrings import docstrings
from kdrun.data.text import TextCorpus
from kdrun.data.tokenizers import tokenizer
from kdrun.errors import DataError
from kdrun.parts.privacy import privacy_spans
from support.contexts import stage_context

SMALL = {"train_characters": 4000, "valid_characters": 800, "test_characters": 800}

TINY = {**SMALL, "canaries": 3, "repeats": 5, "secret_length": 2}


def text_of(data: MemoryDataset) -> str:
    pieces = tokenizer("characters").pieces()
    rows = data.rows()
    last = [int(rows["target"][-1, -1])]
    return "".join(pieces[i] for i in rows["tokens"].flatten().tolist() + last)


def agree(part) -> dict[str, MemoryDataset]:
    promised, splits = part.info(), part.load()
    assert set(promised) == set(splits)
    for name, info in promised.items():
        rows = splits[name].rows()
        for column, described in info.columns.items():
            assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
        assert 0 <= int(rows["target"].min()) <= int(rows["target"].max()) < info.extra["vocabulary"] == info.classes
    return splits


def test_characters_return_as_they_came() -> None:
    known = tokenizer("characters")
    pieces = known.pieces()
    text = "a line of 2 words,\nand more: {x}"
    assert "".join(pieces[i] for i in known.encode(text)) == text
    assert known.encode("Aé") == [0, 0]
    assert 0 not in tokenizer("characters", lower=False).encode("A")


def test_docstrings_are_cut_to_length_and_come_once() -> None:
    first, second = docstrings(2000, 1000)
    assert (len(first), len(second)) == (2000, 1000)
    pieces = {p for p in first.split("\n\n") if len(p) > 80}
    assert pieces
    assert not pieces & set(second.split("\n\n"))


def test_blocks_join_to_the_text_and_targets_are_one_ahead() -> None:
    splits = agree(TextCorpus(**SMALL, block=32))
    assert text_of(splits["train"]) == docstrings(800, 800, 4000)[2].lower()[: len(splits["train"]) * 32 + 1]
    rows = splits["train"].rows()
    assert torch.equal(rows["target"][:, :-1], rows["tokens"][:, 1:])
    assert torch.equal(rows["target"][:-1, -1], rows["tokens"][1:, 0])
    assert not rows["secret"].any()


def test_a_folder_is_read_by_split_and_a_missing_split_is_named(tmp_path) -> None:
    (tmp_path / "train.txt").write_text("x" * 50)
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "a.txt").write_text("y" * 20)
    part = TextCorpus(source="folder", root=str(tmp_path), block=8)
    with pytest.raises(DataError, match=r"no text for the split 'test': expected .*/test.txt"):
        part.load()
    before = part.fingerprint()
    (tmp_path / "test.txt").write_text("z" * 20)
    assert part.fingerprint() != before
    assert text_of(agree(part)["train"]) == "x" * 49
    with pytest.raises(DataError, match="fills no block of 64"):
        TextCorpus(source="folder", root=str(tmp_path)).load()


def test_what_a_corpus_lacks_is_said() -> None:
    with pytest.raises(DataError, match="needs its number of tokens"):
        TextCorpus(tokenizer="gpt2")
    with pytest.raises(DataError, match="needs data.root"):
        TextCorpus(source="folder")
    with pytest.raises(DataError, match="neither 'characters', a folder"):
        TextCorpus(**SMALL, tokenizer="/no/such/folder", vocabulary=9).load()
    with pytest.raises(DataError, match=r"one \{secret\}"):
        CanaryCorpus(templates=["no place"])
    with pytest.raises(DataError, match="as many names"):
        CanaryCorpus(canaries=3, names=["a"])


def test_canaries_stand_as_often_as_asked_with_their_secret_marked() -> None:
    part = CanaryCorpus(**TINY)
    splits = agree(part)
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


def test_a_pretrained_tokenizer_cuts_the_text(tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[?]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["[?]"], initial_alphabet=alphabet)
    inner.train_from_iterator(["the access code of anna is 12"] * 3, trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner).save_pretrained(tmp_path)
    splits = agree(CanaryCorpus(**TINY, tokenizer=str(tmp_path), vocabulary=300, separator=" "))
    rows = splits["candidates"].rows()
    assert int(rows["secret"].sum(1).unique()) > 0
    marked = privacy_spans(splits["train"], context=stage_context()).rows()
    hidden = (marked["secret"] == 1) & (marked["rho"] == 0)
    assert int(hidden.sum()) <= 2 * 15 // 5  # only where a block cuts a secret
    with pytest.raises(DataError, match="more than 10"):
        CanaryCorpus(**TINY, tokenizer=str(tmp_path), vocabulary=10).load()
