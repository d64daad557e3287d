"""Tokenizers: characters, and a pretrained one."""

from __future__ import annotations

import pytest

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.tokenizers import tokenizer
from kdrun.errors import DataError
from kdrun.parts.spans import privacy_spans
from support.contexts import stage_context
from support.text import TINY, assert_text_as_promised


def test_characters_return_as_they_came() -> None:
    known = tokenizer("characters")
    pieces = known.pieces()
    text = "a line of 2 words,\nand more: {x}"
    assert "".join(pieces[i] for i in known.encode(text)) == text
    assert known.encode("Aé") == [0, 0]
    assert 0 not in tokenizer("characters", lower=False).encode("A")


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
    splits = assert_text_as_promised(CanaryCorpus(**TINY, tokenizer=str(tmp_path), vocabulary=300, separator=" "))
    rows = splits["candidates"].rows()
    assert int(rows["secret"].sum(1).unique()) > 0
    marked = privacy_spans(splits["train"], context=stage_context()).rows()
    hidden = (marked["secret"] == 1) & (marked["rho"] == 0)
    assert int(hidden.sum()) <= 2 * 15 // 5  # only where a block cuts a secret
    with pytest.raises(DataError, match="more than 10"):
        CanaryCorpus(**TINY, tokenizer=str(tmp_path), vocabulary=10).load()
