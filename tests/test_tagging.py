"""Tagged text: data of two domains, taggers, metrics of mentions, and stage parts on tags."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch

from kdrun.data.conll import ConllDomains
from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.tagging import ToyTwoDomainNer
from kdrun.errors import DataError, InputError
from kdrun.metrics.tagging import between_group_cosine, confusion_rate, entity_f1
from kdrun.models.building import build
from kdrun.ops.spans import mention_starts
from kdrun.parts.tagging import few_shot_by_tag, foreign_as_class, scattered_mentions

TOY = {"source": 150, "target": 150, "valid": 20, "test": 150}


def mentions(tags: torch.Tensor) -> torch.Tensor:
    start, inside = mention_starts(tags)
    return inside & (start == torch.arange(tags.shape[1]))


@pytest.fixture(scope="module")
def toy() -> dict[str, MemoryDataset]:
    return ToyTwoDomainNer(**TOY, seed=1).load()


def test_toy_rows_are_as_promised(toy) -> None:
    for name, info in ToyTwoDomainNer(**TOY, seed=1).info().items():
        rows = toy[name].rows()
        for column, described in info.columns.items():
            assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
        if "tags" in rows:
            assert int(rows["tags"].max()) < info.classes
            assert torch.equal(rows["first"], rows["tags"] >= 0)
            assert torch.equal(rows["first"], rows["tokens"].ne(0).any(-1))
    assert torch.equal(toy["test"].rows()["tokens"], ToyTwoDomainNer(**TOY, seed=1).load()["test"].rows()["tokens"])


def test_toy_mentions_are_whole_and_of_two_kinds(toy) -> None:
    rows = toy["target"].rows()
    for column in ("tags", "source_tags"):
        _, inside = mention_starts(rows[column])
        assert torch.equal(inside, rows[column] > 0)
    assert not ((rows["tags"] > 0) & (rows["source_tags"] > 0)).any()
    assert torch.equal(rows["entity"] >= 0, mentions(rows["source_tags"]))
    assert torch.equal(toy["source"].rows()["tags"], toy["source"].rows()["source_tags"])
    assert 0.8 < mentions(rows["tags"]).sum() / len(rows["tags"]) < 1.2
    seen = toy["source"].rows()["entity"]
    assert (seen[seen >= 0] % 60).max() < 40 <= (toy["test"].rows()["entity"] % 60).max()


def test_recurrent_tagger_does_not_see_padding_and_reads_both_ways() -> None:
    model = build({"model": "recurrent_tagger", "hidden": 8, "units": 8, "vector": 4, "num_classes": 3}, seed=(0, "w"))
    x = torch.randn(2, 5, 4)
    longer = torch.cat([x, torch.zeros(2, 3, 4)], dim=1)
    assert torch.allclose(model(longer)[:, :5], model(x), atol=1e-6)
    changed = x.clone()
    changed[:, 4] += 1
    assert not torch.allclose(model(changed)[:, 0], model(x)[:, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(x).float()
    assert torch.allclose(mixed, model(x), atol=0.05)
    twin = {name: p + 0.1 for name, p in model.named_parameters()}
    assert not torch.allclose(torch.func.functional_call(model, twin, (x,)), model(x))


def test_adapters_start_near_the_frozen_encoder_and_alone_are_trained() -> None:
    pytest.importorskip("transformers")
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "vocab_size": 50,
    }
    model = build({"model": "adapter_tagger", "name": "bert", "config": small, "num_classes": 3}, seed=(0, "w")).eval()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 4 + 2
    assert all(".output.dense.1." in n or n.startswith("head.") for n in trained)
    tokens = torch.tensor([[5, 6, 7, 0], [8, 9, 10, 11]])
    cut = model(tokens[:1, :3])
    assert torch.allclose(model(tokens)[0, :3], cut[0], atol=1e-5)
    for layer in model.encoder.encoder.layer:
        torch.nn.init.zeros_(layer.output.dense[1].up.weight)
    plain = model(tokens)
    for layer in model.encoder.encoder.layer:
        layer.output.dense = layer.output.dense[0]
    assert torch.allclose(model(tokens), plain)


def test_entity_f1_counts_whole_mentions() -> None:
    pytest.importorskip("seqeval")
    tags = torch.tensor([[1, 2, 0, 3, -100], [0, 1, 0, 0, 0]])
    assert entity_f1(tags, tags)["entity_f1"] == 1
    found = torch.tensor([[1, 0, 0, 3, 1], [0, 2, 0, 7, 8]])  # cut short; right; at padding; stray; of a further type
    scores = entity_f1(found, tags, types=2)
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert entity_f1(found, tags)["precision"] == pytest.approx(2 / 4)
    assert entity_f1(torch.zeros_like(tags), tags)["entity_f1"] == 0


def test_confusion_counts_mentions_not_words() -> None:
    foreign = torch.tensor([[1, 2, 2, 0, 1], [3, 0, 0, 1, -100]])
    found = torch.tensor([[0, 1, 2, 1, 0], [9, 1, 0, 0, 0]])
    assert confusion_rate(found, foreign) == pytest.approx(2 / 4)
    assert confusion_rate(found, foreign, types=4) == pytest.approx(1 / 4)


def test_cosine_between_groups_is_the_mean_over_pairs() -> None:
    features, groups = torch.randn(7, 3), torch.tensor([0, 1, 1, 0, 1, 0, 1])
    pairs = torch.nn.functional.cosine_similarity(features[groups == 0][:, None], features[groups == 1][None], dim=2)
    assert between_group_cosine(features, groups) == pytest.approx(pairs.mean().item(), abs=1e-6)
    assert math.isnan(between_group_cosine(features, torch.zeros(7)))


def test_few_shot_rows_hold_every_tag(toy) -> None:
    generator = torch.Generator().manual_seed(0)
    few = few_shot_by_tag(toy["target"], share=0.2, generator=generator)
    tags = few.rows()["tags"]
    present = toy["target"].rows()["tags"].clamp_min(0).unique()
    assert len(few) <= 30
    for tag in present[present > 0]:
        assert (tags == tag).any(1).sum() >= 5
    everything = few_shot_by_tag(toy["target"], share=1.0, generator=generator)
    assert 30 < len(everything) <= 150
    assert len(everything.rows()["index"].unique()) == len(everything)


def labelled(toy) -> MemoryDataset:
    rows = toy["target"].rows()
    return toy["target"].with_columns({"pseudo": rows["source_tags"]})


def test_scattered_mentions_keep_number_and_lengths_and_spare_gold(toy) -> None:
    data = labelled(toy)
    before = data.rows()
    after = scattered_mentions(data, generator=torch.Generator().manual_seed(0)).rows()["pseudo"]
    assert not torch.equal(after, before["pseudo"])
    assert torch.equal(after < 0, before["tags"] < 0)
    assert not ((after > 0) & (before["tags"] > 0)).any()
    for old, new in zip(before["pseudo"], after, strict=True):
        assert torch.equal(old[old > 0].sort().values, new[new > 0].sort().values)
        assert int(mentions(old[None]).sum()) == int(mentions(new[None]).sum())


def test_foreign_mentions_become_one_more_type(toy) -> None:
    rows = foreign_as_class(labelled(toy))
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


def test_a_new_head_needs_a_model_with_one() -> None:
    from kdrun.parts.tagging import new_head

    data = MemoryDataset({"tags": torch.zeros(2, 3)}, DataInfo({"tags": Column((3,))}, classes=3))
    with pytest.raises(InputError, match="needs a model with num_classes"):
        new_head(torch.nn.Linear(2, 2), data, context=SimpleNamespace())
