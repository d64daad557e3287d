"""Decoding with caches, fused decoding, a bank of facts, and questions from files."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.data.facts import IGNORED, FactBank
from kdrun.data.questions import QuestionFolder
from kdrun.errors import DataError, InputError
from kdrun.metrics.language import exact_match
from kdrun.models.transformers import CausalTransformer, KeyValueCache
from kdrun.parts.decoding import Sampler, decoding, fused_decoding
from kdrun.parts.merge import task_arithmetic

CONTEXT = SimpleNamespace(
    config_key="graph.text",
    device=torch.device("cpu"),
    hardware=SimpleNamespace(evaluation=torch.no_grad, workers=0),
)
SMALL = {"entities": 30, "lines": 3000, "train_entities": 10, "valid_entities": 5}


def model(seed: int, vocabulary: int = 11, max_length: int = 16) -> CausalTransformer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = CausalTransformer(vocabulary=vocabulary, dim=16, depth=2, heads=2, max_length=max_length)
        for parameter in made.parameters():
            parameter.data.mul_(4.0)
    return made.eval()


def prompts(rows: int = 6, length: int = 5, seed: int = 0) -> MemoryDataset:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 11, (rows, length), generator=generator)
    short = torch.arange(length) < (torch.arange(rows) % 3)[:, None]
    columns = {"tokens": Column((length,), torch.int64), "mask": Column((length,), torch.bool)}
    return MemoryDataset({"tokens": tokens.masked_fill(short, 0), "mask": ~short}, DataInfo(columns))


def run(part, *inputs, seed: int = 0, **options):
    return part(*inputs, context=CONTEXT, generator=torch.Generator().manual_seed(seed), **options).rows()


def by_hand(one, rows, max_tokens: int, stop: int | None = None) -> list[list[int]]:
    """Greedy decoding of each row by itself, without padding or cache."""
    found = []
    for tokens, mask in zip(rows["tokens"], rows["mask"], strict=True):
        own = tokens[mask].tolist()
        written: list[int] = []
        while len(written) < max_tokens and (stop is None or stop not in written):
            written.append(int(one(torch.tensor([own + written]))[0, -1].argmax()))
        found.append(written + [0] * (max_tokens - len(written)))
    return found


@torch.no_grad()
def test_a_cache_gives_the_logits_of_the_whole_text() -> None:
    one, tokens = model(0), torch.randint(1, 11, (3, 9), generator=torch.Generator().manual_seed(1))
    whole, cache = one(tokens), KeyValueCache()
    pieces = [one(tokens[:, a:b], cache=cache) for a, b in ((0, 4), (4, 5), (5, 9))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    assert len(cache) == 9
    cache = KeyValueCache()
    one(tokens[:, :6], cache=cache)
    cache.select(torch.tensor([2, 0]))
    torch.testing.assert_close(one(tokens[[2, 0], 6:], cache=cache), whole[[2, 0], 6:])


@torch.no_grad()
def test_padding_on_the_left_changes_nothing() -> None:
    one, tokens = model(0), torch.randint(1, 11, (3, 7), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.full((3, 4), 5), tokens], dim=1)
    mask = (torch.arange(11) >= 4).expand(3, -1)
    torch.testing.assert_close(one(padded, mask=mask)[:, 4:], one(tokens))


@pytest.mark.parametrize("stop", [None, 3])
def test_greedy_decoding_is_that_of_each_row_alone(stop) -> None:
    one, data = model(3), prompts()
    rows = run(decoding, one, data, max_tokens=6, stop=None if stop is None else [stop], batch_size=4)
    expected = by_hand(one, data.rows(), 6, stop)
    assert rows["generated"].tolist() == expected
    if stop is not None:
        lengths = [w.index(stop) + 1 if stop in w else 6 for w in expected]
        assert len(set(lengths)) > 1  # some rows end before others
        assert rows["emitted"].sum(1).tolist() == lengths


def test_what_cannot_be_decoded_is_said() -> None:
    one, data = model(0), prompts()
    with pytest.raises(InputError, match="max_length of 8"):
        run(decoding, model(0, max_length=8), data, max_tokens=6)
    with pytest.raises(InputError, match="padded on the left"):
        run(decoding, one, data.with_columns({"mask": data.rows()["mask"].flip(1)}), max_tokens=2)
    with pytest.raises(InputError, match="Linear does not write"):
        run(decoding, torch.nn.Linear(2, 2), data)
    with pytest.raises(InputError, match="3 experts need as many weights"):
        run(fused_decoding, one, one, [one, one, one], data, weights=[1.0, 2.0])


def test_samples_follow_the_model_and_repeat_by_seed() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).expand(20000, -1)
    share = torch.bincount(Sampler(2.0, None, None, torch.Generator().manual_seed(0))(logits), minlength=4) / 20000
    torch.testing.assert_close(share, (logits[0] / 2.0).softmax(0), atol=0.015, rtol=0)
    few = Sampler(1.0, 2, None, torch.Generator().manual_seed(0))(logits)
    assert set(few.tolist()) == {0, 1}
    assert set(Sampler(1.0, None, 0.1, torch.Generator())(logits).tolist()) == {0}
    one, data = model(0), prompts()
    first, again, other = (
        run(decoding, one, data, max_tokens=8, temperature=3.0, seed=seed)["generated"] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fusing_nothing_writes_what_the_large_model_writes() -> None:
    large, small, expert, data = model(0), model(1), model(2), prompts()
    alone = run(decoding, large, data, max_tokens=5)["generated"]
    for experts, options in (([expert], {"weights": [0.0]}), ([small], {}), ([small, small], {"direction": "mixture"})):
        rows = run(fused_decoding, large, small, experts, data, max_tokens=5, **options)
        assert torch.equal(rows["generated"], alone)
        assert not rows["divergence"].any()
        assert rows["weights"].shape == (6, len(experts), 5)


def test_a_model_fused_with_its_own_tuning_writes_as_that_does() -> None:
    small, expert, data = model(1), model(2), prompts()
    tuned = run(decoding, expert, data, max_tokens=5, stop=[3])
    for options in ({"weights": [1.0]}, {}):
        rows = run(fused_decoding, small, small, [expert], data, max_tokens=5, stop=[3], **options)
        assert torch.equal(rows["generated"], tuned["generated"])
    written = rows["emitted"] == 1
    torch.testing.assert_close(rows["weights"][:, 0][written], torch.ones(int(written.sum())), atol=1e-3, rtol=0)


def test_one_fixed_weight_stands_for_all_experts() -> None:
    large, small, experts, data = model(0), model(1), [model(2), model(4)], prompts()
    one, two = (run(fused_decoding, large, small, experts, data, weights=w, max_tokens=5) for w in ([0.5], [0.5, 0.5]))
    assert torch.equal(one["generated"], two["generated"])
    assert (two["weights"][two["emitted"][:, None].expand(-1, 2, -1) == 1] == 0.5).all()


def test_divergences_match_where_a_root_lies_in_range() -> None:
    rows = run(fused_decoding, model(0), model(1), [model(2), model(4)], prompts(30), max_tokens=5, largest=1.0)
    inside = rows["weights"].amax(1) < 1.0
    difference = (rows["divergence"] - rows["mean_divergence"]).abs()
    assert 0 < inside.float().mean() < 1
    assert difference[inside].max() < 1e-3
    assert difference[~inside].max() > 1e-3
    assert rows["mismatch"].max() < 1e-3


def test_a_longer_vocabulary_is_cut() -> None:
    small, expert, data = model(1), model(2), prompts()
    wide = model(0, vocabulary=14)
    rows = run(fused_decoding, wide, small, [expert], data, max_tokens=5)
    assert rows["generated"].max() < 11


def test_models_of_transformers_decode_with_their_own_cache() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=11
    )
    torch.manual_seed(0)
    one = transformers.LlamaForCausalLM(config).eval()
    for parameter in one.parameters():
        parameter.data.mul_(5.0)
    data = prompts()
    rows = run(decoding, one, data, max_tokens=6, stop=[3])
    with torch.no_grad():
        assert rows["generated"].tolist() == by_hand(lambda tokens: one(tokens).logits, data.rows(), 6, 3)
    fused = run(fused_decoding, one, one, [one], data, max_tokens=6, stop=[3])
    assert torch.equal(fused["generated"], rows["generated"])


def test_task_arithmetic_adds_differences() -> None:
    base, first, second = model(0), model(1), model(2)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    merged = task_arithmetic(base, [first, second], scale=0.5).state_dict()
    for name, value in merged.items():
        expected = 0.5 * (first.state_dict()[name] + second.state_dict()[name])
        torch.testing.assert_close(value, expected)
    same = task_arithmetic(model(0), [first]).state_dict()
    torch.testing.assert_close(same["norm.weight"], first.state_dict()["norm.weight"])
    assert not torch.equal(merged["positions.weight"], before["positions.weight"])
    with pytest.raises(InputError, match="one architecture"):
        task_arithmetic(base, [model(0, vocabulary=14)])


def test_exact_match_counts_the_stop_and_nothing_behind_it() -> None:
    generated = torch.tensor([[4, 1, 9], [4, 2, 1], [5, 1, 0], [4, 1, 0]])
    answer = torch.tensor([[4, 1], [4, 1], [4, 1], [4, -100]])
    assert exact_match(generated, answer) == 0.5
    with pytest.raises(InputError, match="only 1"):
        exact_match(generated[:, :1], answer)


def agree(known, found) -> None:
    if isinstance(known, DataInfo):
        rows = found.rows()
        assert known.size in (None, len(found))
        for name, column in known.columns.items():
            assert (rows[name].shape[1:], rows[name].dtype) == (column.shape, column.dtype)
    elif isinstance(known, dict):
        assert set(known) == set(found)
        for name, value in known.items():
            agree(value, found[name])
    else:
        for one, other in zip(known, found, strict=True):
            agree(one, other)


def text(bank: FactBank, ids) -> str:
    return " ".join(bank.words[i] for i in ids if i > 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"attributes": ["job", "city", "pet"], "values": [8, 9, 16], "value_tokens": 2, "value_symbols": 4}],
)
def test_facts_agree_in_all_their_renderings(options) -> None:
    bank = FactBank(**SMALL, **options)
    splits = bank.load()
    agree(bank.info(), splits)
    names, values = bank.facts
    assert len(names.unique(dim=0)) == 30
    for value, count in zip(values, bank.values, strict=True):
        assert 1 < len(value.unique(dim=0)) <= count
    stated = splits["statements"].rows()
    shown = {
        f"{text(bank, t)} {text(bank, a)}"
        for t, a in zip(stated["tokens"].tolist(), stated["answer"].tolist(), strict=True)
    }
    train = splits["train"].rows()
    lines = [
        text(bank, [t[0], *[i for i in target if i != IGNORED]])
        for t, target in zip(train["tokens"].tolist(), train["target"].tolist(), strict=True)
    ]
    plain = [line for line in lines if not line.startswith("cue-")]
    assert set(plain) <= shown
    assert len(plain) / len(lines) == pytest.approx(0.4, abs=0.04)
    for number, task in enumerate(splits["tasks"]):
        parts = [set(task[s].rows()["entity"].tolist()) for s in ("train", "valid", "test")]
        assert [len(p) for p in parts] == [10, 5, 15]
        assert len(set.union(*parts)) == 30
        rows = task["test"].rows()
        asked = [text(bank, t) for t in rows["tokens"].tolist()]
        assert all(a.startswith(f"cue-{number} ") and a.endswith(" :") for a in asked)
        assert torch.equal(rows["answer"][:, :-1], values[number][rows["entity"]])


def test_a_cue_says_nothing_about_what_follows() -> None:
    bank = FactBank(**{**SMALL, "lines": 40000})
    rows = bank.load()["train"].rows()
    cued = rows["tokens"][:, 0] - bank.ids["cue-0"]
    kind = {a: bank.ids[f"{a}-0"] for a in bank.attributes}
    value = rows["tokens"][:, 4]
    for cue in range(5):
        own = value[cued == cue]
        for attribute in bank.attributes:
            inside = (own >= kind[attribute]) & (own < kind[attribute] + 24)
            assert inside.float().mean().item() == pytest.approx(1 / 3, abs=0.04)


def test_facts_depend_on_the_seed_alone() -> None:
    one, same, other = (FactBank(**SMALL, seed=seed).load() for seed in (0, 0, 1))
    assert torch.equal(one["train"].rows()["tokens"], same["train"].rows()["tokens"])
    assert not torch.equal(one["train"].rows()["tokens"], other["train"].rows()["tokens"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [3]}, "2 attributes need as many"),
        ({"entities": 2000}, "names are too few"),
        ({"train_entities": 400}, "leave none to test on"),
        ({"templates": ["{name} is {value}"]}, "ends in '{value} .'"),
        ({"templates": ["x {value} ."]}, "one {name}"),
        ({"value_tokens": 2}, "need their number of symbols"),
        ({"value_symbols": 5}, "values are too few"),
        ({"cues": 1}, "as many cue words"),
    ],
)
def test_facts_that_cannot_be_are_refused(options, message) -> None:
    with pytest.raises(DataError, match=message):
        FactBank(**options)


def questions(root, **options) -> QuestionFolder:
    given = {"vocabulary": 100, "prompt_length": 6, "answer_length": 4, "start": 98, "stop": 99, **options}
    return QuestionFolder(root=str(root), tasks=["sums"], **given)


def test_questions_are_read_padded_and_cut(tmp_path) -> None:
    (tmp_path / "sums").mkdir()
    pairs = [{"prompt": "1+1=", "answer": "2"}, {"prompt": "100+23=", "answer": "123456"}]
    for split in ("train", "valid", "test"):
        (tmp_path / "sums" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    part = questions(tmp_path)
    splits = part.load()
    agree(part.info(), splits)
    train, test = splits["tasks"][0]["train"].rows(), splits["tasks"][0]["test"].rows()
    assert test["mask"].sum(1).tolist() == [5, 6]
    assert (test["tokens"][:, 0] == torch.tensor([0, 98])).all()
    assert test["answer"][0, 1:].tolist() == [99, -100, -100]
    assert test["answer"][1, 3] == 99
    for line, target, tokens, mask in zip(train["tokens"], train["target"], test["tokens"], test["mask"], strict=True):
        begin = int(mask.sum())
        assert line[:begin].tolist() == tokens[mask].tolist()
        assert (target[: begin - 1] == IGNORED).all()
        real = target[target != IGNORED]
        assert real[-1] == 99
        assert line[begin : begin + len(real) - 1].tolist() == real[:-1].tolist()


def test_missing_and_broken_questions_are_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"there is no .*sums/train.jsonl: expected one"):
        questions(tmp_path).load()
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "train.jsonl").write_text('{"prompt": "a"}')
    with pytest.raises(DataError, match="line 1: expected"):
        questions(tmp_path).load()
    with pytest.raises(DataError, match="more than 10"):
        questions(tmp_path, vocabulary=10).load()


def test_what_decoding_adds_is_known_before_it_runs(session) -> None:
    for arm, experts in (("dynamic", 1), ("dynamic_multi", 2)):
        ready = session("dynamic_logit_fusion", *[f"data.{k}={v}" for k, v in SMALL.items()], arm=arm)
        shapes = {stage.name: stage.shapes for stage in ready.plan().stages}
        assert shapes["traces[0].trace"]["first"][1:] == [experts, 1]
