"""A world of facts, Fisher information, low-rank adapters, and metrics of forgetting."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdrun.data.biographies import ANSWER, CONTEXT, END, IGNORED, SyntheticBiographies
from kdrun.data.tofu import Tofu
from kdrun.errors import DataError, InputError
from kdrun.metrics.unlearning import answer_probability, ks_forget_quality, model_utility, valid_mass
from kdrun.models.building import build
from kdrun.models.low_rank import LowRankConv2d, adapted_layers, insert_adapters, merge_adapters
from kdrun.parts.adapters import low_rank_adapter, merged_adapter
from kdrun.parts.fisher import diagonal_fisher

SMALL = {"people": 8, "others": 6, "values": 4, "forget_people": 2, "contexts": 50, "test_contexts": 20}
SPEC = {"model": "causal_transformer", "vocabulary": 37, "max_length": 20, "size": "nano"}
CONTEXT_OF = SimpleNamespace(
    device=torch.device("cpu"), hardware=SimpleNamespace(autocast=lambda: None, workers=0, evaluation=nullcontext)
)


@pytest.fixture(scope="module")
def world():
    part = SyntheticBiographies(**SMALL)
    return part, part.load()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def sentences(row: torch.Tensor) -> list[tuple[int, ...]]:
    """The facts stated in a context: (name, relation, value) by word."""
    return [tuple(row[i : i + 3].tolist()) for i in range(1, 13, 4)]


def test_splits_are_what_was_promised(world) -> None:
    part, splits = world
    promised = part.info()
    assert set(promised) == set(splits)
    for name, info in promised.items():
        rows = splits[name].rows()
        assert set(rows) == {*info.columns, "index"}
        for column, described in info.columns.items():
            assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
        assert int(rows["tokens"].max()) < part.vocabulary


def test_facts_are_parted_by_person_and_hold_everywhere(world) -> None:
    part, splits = world
    assert (len(splits["train"]), len(splits["forget"]), len(splits["retain"])) == (24, 6, 18)
    forget, retain = splits["forget"].rows(), splits["retain"].rows()
    assert set(forget["person"].tolist()) == {0, 1}
    assert set(retain["person"].tolist()) == set(range(2, 8))
    facts = {(p, r): v for s in (forget, retain) for p, r, v in zip(*_columns(s), strict=True)}
    assert len(facts) == 24
    for name in ("open_forget", "distractors", "paraphrase"):
        for p, r, v in zip(*_columns(splits[name].rows()), strict=True):
            assert facts[p, r] == v
    other = SyntheticBiographies(**SMALL, seed=1).load()["train"].rows()
    assert not torch.equal(other["label"], splits["train"].rows()["label"])
    assert torch.equal(part.load()["reading"].rows()["tokens"], splits["reading"].rows()["tokens"])


def _columns(rows) -> list[list[int]]:
    return [rows[name].tolist() for name in ("person", "relation", "label")]


def test_targets_are_the_value_and_the_end_after_the_answer_mark(world) -> None:
    _, splits = world
    for name in ("train", "reading", "utility"):
        rows = splits[name].rows()
        at = torch.arange(len(rows["place"])), rows["place"]
        assert (rows["tokens"][at] == ANSWER).all()
        assert torch.equal(rows["target"][at], rows["label"])
        assert ((rows["target"] != IGNORED).sum(1) == 2).all()
        assert (rows["target"][at[0], at[1] + 1] == END).all()
        assert ((rows["answer"] != IGNORED).sum(1) == 1).all()
        assert (rows["choices"] == rows["label"][:, None]).sum(1).eq(1).all()


def test_contexts_answer_their_question_and_distractors_do_not(world) -> None:
    part, splits = world
    for name in ("reading", "benign", "named", "open_forget", "distractors"):
        rows = splits[name].rows()
        assert (rows["tokens"][:, 0] == CONTEXT).all()
        for tokens, place, label in zip(rows["tokens"], rows["place"].tolist(), rows["label"].tolist(), strict=True):
            stated = sentences(tokens)
            asked = (int(tokens[place - 2]), int(tokens[place - 1]), label)
            assert (asked in stated) == (name != "distractors")
            assert len({fact[0] for fact in stated}) == 3
    about = splits["benign"].rows()["person"]
    assert int(about.min()) >= 2
    assert int(splits["named"].rows()["person"].min()) >= part.people


def test_contexts_for_training_say_nothing_of_the_true_facts() -> None:
    splits = SyntheticBiographies(contexts=4000).load()
    true = torch.zeros(40, 3, dtype=torch.int64)
    facts, rows = splits["train"].rows(), splits["reading"].rows()
    true[facts["person"], facts["relation"]] = facts["label"]
    known = rows["person"] < 40
    agree = true[rows["person"][known], rows["relation"][known]] == rows["label"][known]
    assert agree.double().mean().item() == pytest.approx(0.1, abs=0.03)


def test_wrong_answers_are_all_others_of_the_relation(world) -> None:
    _, splits = world
    rows = splits["forget_test"].rows()
    wrong = rows["wrong_answer"].amax(-1)
    together = torch.cat([wrong, rows["label"][:, None]], 1).sort(1).values
    assert torch.equal(together, rows["choices"])
    differs = (rows["wrong_tokens"] != rows["tokens"][:, None]).sum(-1)
    assert (differs == 1).all()
    assert splits["utility"].rows()["part"].bincount().tolist() == [18, 20]


def test_paraphrases_of_forgotten_facts_are_trained_but_not_forgotten() -> None:
    splits = SyntheticBiographies(**SMALL, paraphrases=True).load()
    assert [len(splits[s]) for s in ("train", "retain", "forget", "paraphrase")] == [48, 36, 6, 6]
    with pytest.raises(DataError, match="leave nobody"):
        SyntheticBiographies(people=5, forget_people=5)


def test_tofu_reads_questions_and_says_what_is_missing(tmp_path, monkeypatch) -> None:
    letters = SimpleNamespace(encode=lambda text: [ord(c) % 90 for c in text])
    monkeypatch.setattr("kdrun.data.tofu.tokenizer", lambda name, lower: letters)
    entry = {"question": "who?", "answer": "ada", "paraphrased_answer": "it is ada"}
    entry["perturbed_answer"] = ["bob", "eve"]
    part = Tofu(root=str(tmp_path), block=40, wrong=2, end=99)
    for names in part.files.values():
        for name in names:
            (tmp_path / f"{name}.json").write_text(json.dumps(entry) + "\n")
    splits = part.load()
    for name, info in part.info().items():
        rows = splits[name].rows()
        assert {c: v.shape[1:] for c, v in rows.items() if c != "index"} == {
            c: d.shape for c, d in info.columns.items()
        }
    rows = splits["forget_test"].rows()
    said = rows["target"][0][rows["target"][0] != IGNORED].tolist()
    assert said == [*letters.encode("ada"), 99]
    assert rows["answer"][0][rows["answer"][0] != IGNORED].tolist() == said[:-1]
    first = int((rows["target"][0] != IGNORED).int().argmax())
    assert rows["tokens"][0][: first + 1].tolist() == letters.encode("Question: who?\nAnswer: ")
    assert splits["utility"].rows()["part"].tolist() == [0, 1, 2]
    (tmp_path / "full.json").unlink()
    with pytest.raises(DataError, match=r"there is no .*full.json: expected the files of locuslab/TOFU"):
        part.load()


def small_model() -> nn.Module:
    return build(SPEC, seed=(3,))


def test_fisher_information_is_the_squared_gradient_weighted_by_tokens(world) -> None:
    _, splits = world
    data = splits["retain"]
    model = small_model()
    found = diagonal_fisher(model, data, of="linear", batch_size=9, context=CONTEXT_OF)
    assert set(found) == {f"blocks.{i}.{m}.weight" for i in range(2) for m in LINEAR}
    whole = small_model()
    expected, name = 0.0, "blocks.1.feed.0.weight"
    for rows in (slice(0, 9), slice(9, 18)):
        batch = {k: v[rows] for k, v in data.rows().items()}
        loss = F.cross_entropy(whole(batch["tokens"]).flatten(0, 1), batch["target"].flatten())
        expected = expected + torch.autograd.grad(loss, whole.get_parameter(name))[0].square() / 2
    assert torch.allclose(found[name], expected, rtol=1e-4, atol=1e-12)
    single = diagonal_fisher(small_model(), data, batch_size=1, context=CONTEXT_OF)
    assert set(single) == {n for n, _ in small_model().named_parameters()}
    assert single[name].sum() > found[name].sum()  # the mean of squares is more than the square of means


LINEAR = ("attention.project_in", "attention.project_out", "feed.0", "feed.2")


def test_fisher_information_counts_labels_that_count() -> None:
    layer = nn.Linear(2, 2, bias=False)
    rows = {"tokens": torch.randn(2, 3, 2), "target": torch.tensor([[0, 1, 0], [1, -100, -100]])}
    data = _memory(rows)
    found = diagonal_fisher(layer, data, batch_size=1, context=CONTEXT_OF)["weight"]
    squares = []
    for i in range(2):
        loss = F.cross_entropy(layer(rows["tokens"][i]), rows["target"][i])
        squares.append(torch.autograd.grad(loss, layer.weight)[0].square())
    assert torch.allclose(found, (3 * squares[0] + squares[1]) / 4)


def _memory(rows):
    from kdrun.data.dataset import Column, DataInfo, MemoryDataset

    return MemoryDataset(rows, DataInfo({k: Column(tuple(v.shape[1:]), v.dtype) for k, v in rows.items()}))


def tokens() -> torch.Tensor:
    return torch.randint(37, (4, 10), generator=torch.Generator().manual_seed(0))


def importances(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.rand(p.shape, generator=generator) for n, p in model.named_parameters()}


@pytest.mark.parametrize("weighted", [True, False])
def test_adapters_change_nothing_at_first(weighted) -> None:
    model = small_model()
    before = model(tokens())
    tables = [importances(model, i) for i in range(2)] if weighted else []
    adapted = low_rank_adapter(model, *tables, rank=4, alpha=8.0, generator=torch.Generator())
    assert torch.allclose(adapted(tokens()), before, atol=1e-4)
    layer = adapted.blocks[0].feed[0]
    assert bool(layer.lora_B.abs().sum() > 0) == weighted
    if weighted:
        assert not torch.allclose(layer.weight, small_model().blocks[0].feed[0].weight, atol=1e-3)
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {f"blocks.{i}.{m}.lora_{f}" for i in range(2) for m in LINEAR for f in "AB"}


def test_an_adapted_model_returns_from_its_specification_and_merges() -> None:
    adapted = low_rank_adapter(small_model(), rank=2, alpha=2.0, generator=torch.Generator().manual_seed(1))
    for layer in adapted_layers(adapted).values():
        nn.init.normal_(layer.lora_B)
    again = build(dict(adapted.kdrun_spec), seed=(9,))
    again.load_state_dict(adapted.state_dict())
    said = adapted(tokens())
    assert torch.equal(again(tokens()), said)
    assert (said - small_model()(tokens())).abs().max() > 0.1
    merged = merged_adapter(again)
    plain = build(dict(merged.kdrun_spec), seed=(9,))
    plain.load_state_dict(merged.state_dict())
    assert torch.allclose(plain(tokens()), said, atol=1e-4)
    assert not adapted_layers(merged)
    with pytest.raises(InputError, match="no adapters to merge"):
        merged_adapter(plain)


def test_the_adapters_first_factor_follows_the_generator() -> None:
    first, same, other = (
        low_rank_adapter(small_model(), generator=torch.Generator().manual_seed(s)).blocks[0].feed[0].lora_A
        for s in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_adapters_go_where_they_are_asked_to() -> None:
    chosen = insert_adapters(small_model(), ["feed.0", "blocks.1.attention.project_in"], rank=2, alpha=4.0)
    assert set(adapted_layers(chosen)) == {"blocks.0.feed.0", "blocks.1.feed.0", "blocks.1.attention.project_in"}
    with pytest.raises(InputError, match="is called 'fed.0'"):
        insert_adapters(small_model(), ["fed.0"], rank=2, alpha=4.0)
    with pytest.raises(InputError, match="no adapter of rank 64"):
        insert_adapters(small_model(), None, rank=64, alpha=4.0)
    with pytest.raises(InputError, match="no importance of the shape"):
        low_rank_adapter(small_model(), {}, generator=torch.Generator())


def test_convolutions_take_adapters() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1))
    image = torch.randn(2, 3, 9, 9)
    before = layer(image)
    adapted = insert_adapters(layer, ["0"], rank=2, alpha=4.0)
    assert isinstance(adapted[0], LowRankConv2d)
    assert torch.equal(adapted(image), before)
    nn.init.normal_(adapted[0].lora_B)
    said = adapted(image)
    assert (said - before).abs().max() > 0.1
    assert torch.allclose(merge_adapters(adapted)(image), said, atol=1e-4)
    with pytest.raises(InputError, match="without groups"):
        insert_adapters(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), ["0"], rank=2, alpha=4.0)


def test_models_of_transformers_take_adapters_in_all_linear_layers_but_the_head() -> None:
    pytest.importorskip("transformers")
    config = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    spec = {"model": "transformers", "name": "phi", "task": "causal_lm", "pretrained": False, "num_classes": 2}
    model = build({**spec, "config": {**config, "num_attention_heads": 2}}, seed=(0,)).eval()
    ids = torch.randint(20, (2, 6))
    before = model(ids).logits
    adapted = low_rank_adapter(model, importances(model, 0), rank=2, alpha=4.0, generator=torch.Generator())
    assert {name.rpartition(".")[2] for name in adapted_layers(adapted)} == PHI
    assert torch.allclose(adapted(ids).logits, before, atol=1e-4)


PHI = {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}


def test_metrics_of_forgetting() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]]).log()
    assert valid_mass(logits, torch.tensor([[0, 1], [0, 3]])) == pytest.approx(0.65)
    assert answer_probability(torch.tensor([0.5, 0.1]).log()) == pytest.approx(0.3)
    generator = torch.Generator().manual_seed(0)
    one, two = torch.rand(200, generator=generator), torch.rand(200, generator=generator)
    assert ks_forget_quality(one, one) == 1.0
    assert ks_forget_quality(one, two + 0.5) < 1e-6
    assert ks_forget_quality(one, two) == pytest.approx(ks_forget_quality(1 / one, 1 / two))


def test_utility_is_a_harmonic_mean_over_data_sets_and_measures() -> None:
    part = torch.tensor([0, 0, 0, 1])
    full = torch.ones(4)
    assert model_utility(full, full, torch.zeros(4), part) == pytest.approx(1.0)
    assert model_utility(full, full, torch.tensor([0.0, 0.0, 0.0, 2.0]), part) == 0.0
    probability = torch.tensor([0.2, 0.5, 0.8, 0.5])  # means of 0.5, whatever the data sets' sizes
    assert model_utility(probability, full, torch.zeros(4), part) == pytest.approx(6 / (2 / 0.5 + 4))
