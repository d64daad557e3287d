"""Tagged text from CoNLL files."""

from __future__ import annotations

import json

import pytest

from kdrun.data.conll import ConllDomains
from kdrun.errors import DataError


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
