"""Tagged text of two domains, made up and from CoNLL files."""

from __future__ import annotations

import json

import pytest
import torch

from kdrun.data.conll import ConllDomains
from kdrun.data.tagging import ToyTwoDomainNer
from kdrun.errors import DataError
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


def conll(root) -> None:
    for name, kind in (("source", "Gene"), ("target", "Drug"), ("valid", "Drug"), ("test", "Drug")):
        (root / f"{name}.conll").write_text(f"big\tB-{kind}\np53\tI-{kind}\nbinds\tO\n\nit\tO\n")
    events = [{"entity": "Big p53", "text": "binding of (self)"}, {"entity": "other", "text": "it"}]
    (root / "events.jsonl").write_text("\n".join(json.dumps(e) for e in events))


def tokenizer(root) -> str:
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "big", "p", "##53", "bind", "##s", "it", "of", "self"]
    inner = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]").save_pretrained(root / "pieces")
    return str(root / "pieces")


def test_conll_words_are_cut_into_pieces_and_entities_numbered(tmp_path) -> None:
    conll(tmp_path)
    part = ConllDomains(
        root=str(tmp_path),
        source_types=["Gene"],
        target_types=["Drug"],
        tokenizer=tokenizer(tmp_path),
        length=8,
        event_length=6,
    )
    sets = part.load()
    for name, info in part.info().items():
        rows = sets[name].rows()
        for column, described in info.columns.items():
            assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
    rows = sets["source"].rows()
    assert rows["first"][0].tolist() == [False, True, True, False, True, False, False, False]
    assert rows["tags"][0].tolist() == [1, 2, 0, -100, -100, -100, -100, -100]
    assert rows["entity"][0, 0] == 0
    assert (rows["entity"][1] == -1).all()


def test_what_conll_data_lack_is_named(tmp_path) -> None:
    part = ConllDomains(root=str(tmp_path), source_types=["Gene"], target_types=["Chemical"], tokenizer="nowhere")
    assert part.info()["target"].classes == 3
    with pytest.raises(DataError, match=r"there is no .*/source.conll: expected a word and its BIO tag a line"):
        part.load()
    conll(tmp_path)
    with pytest.raises(DataError, match="'nowhere' is neither a folder with a tokenizer"):
        part.load()
    part.tokenizer = tokenizer(tmp_path)
    with pytest.raises(DataError, match=r"the tag 'B-Drug', which is neither O nor B- or I- with one of: Chemical"):
        part.load()
