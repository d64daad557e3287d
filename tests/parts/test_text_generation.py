"""Decoding: greedy, sampled, fused from several models."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.errors import InputError
from kdrun.parts.text_generation import Sampler, decoding, fused_decoding
from support.contexts import stage_context
from support.data import dataset
from support.language import GPT2, tiny
from support.models import causal

SMALL = {"entities": 30, "lines": 3000, "train_entities": 10, "valid_entities": 5}


def prompts(rows: int = 6, length: int = 5, seed: int = 0) -> MemoryDataset:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 11, (rows, length), generator=generator)
    short = torch.arange(length) < (torch.arange(rows) % 3)[:, None]
    return dataset(tokens=tokens.masked_fill(short, 0), mask=~short)


def run(part, *inputs, seed: int = 0, **options):
    return part(*inputs, context=stage_context(), generator=torch.Generator().manual_seed(seed), **options).rows()


def by_hand(one, rows, max_tokens: int, stop: tuple[int, ...] = ()) -> list[list[int]]:
    """Greedy decoding of each row by itself, without padding or cache."""
    found = []
    for tokens, mask in zip(rows["tokens"], rows["mask"], strict=True):
        own = tokens[mask].tolist()
        written: list[int] = []
        while len(written) < max_tokens and not set(stop) & set(written):
            written.append(int(one(torch.tensor([own + written]))[0, -1].argmax()))
        found.append(written + [0] * (max_tokens - len(written)))
    return found


@pytest.mark.parametrize("stop", [(), (3,)])
def test_greedy_decoding_is_that_of_each_row_alone(stop) -> None:
    one, data = causal(3), prompts()
    rows = run(decoding, one, data, max_tokens=6, stop=list(stop), batch_size=4)
    expected = by_hand(one, data.rows(), 6, stop)
    assert rows["generated"].tolist() == expected
    if stop:
        lengths = [w.index(3) + 1 if 3 in w else 6 for w in expected]
        assert len(set(lengths)) > 1  # some rows end before others
        assert rows["emitted"].sum(1).tolist() == lengths


def test_what_cannot_be_decoded_is_said() -> None:
    one, data = causal(0), prompts()
    with pytest.raises(InputError, match="max_length of 8"):
        run(decoding, causal(0, max_length=8), data, max_tokens=6)
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
    one, data = causal(0), prompts()
    first, again, other = (
        run(decoding, one, data, max_tokens=8, temperature=3.0, seed=seed)["generated"] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fusing_nothing_writes_what_the_large_model_writes() -> None:
    large, small, expert, data = causal(0), causal(1), causal(2), prompts()
    alone = run(decoding, large, data, max_tokens=5)["generated"]
    for experts, options in (([expert], {"weights": [0.0]}), ([small], {}), ([small, small], {"direction": "mixture"})):
        rows = run(fused_decoding, large, small, experts, data, max_tokens=5, **options)
        assert torch.equal(rows["generated"], alone)
        assert not rows["divergence"].any()
        assert rows["weights"].shape == (6, len(experts), 5)


def test_a_model_fused_with_its_own_tuning_writes_as_that_does() -> None:
    small, expert, data = causal(1), causal(2), prompts()
    tuned = run(decoding, expert, data, max_tokens=5, stop=[3])
    for options in ({"weights": [1.0]}, {}):
        rows = run(fused_decoding, small, small, [expert], data, max_tokens=5, stop=[3], **options)
        assert torch.equal(rows["generated"], tuned["generated"])
    written = rows["emitted"] == 1
    torch.testing.assert_close(rows["weights"][:, 0][written], torch.ones(int(written.sum())), atol=1e-3, rtol=0)


def test_one_fixed_weight_stands_for_all_experts() -> None:
    large, small, experts, data = causal(0), causal(1), [causal(2), causal(4)], prompts()
    one, two = (run(fused_decoding, large, small, experts, data, weights=w, max_tokens=5) for w in ([0.5], [0.5, 0.5]))
    assert torch.equal(one["generated"], two["generated"])
    assert (two["weights"][two["emitted"][:, None].expand(-1, 2, -1) == 1] == 0.5).all()


def test_divergences_match_where_a_root_lies_in_range() -> None:
    rows = run(fused_decoding, causal(0), causal(1), [causal(2), causal(4)], prompts(30), max_tokens=5, largest=1.0)
    inside = rows["weights"].amax(1) < 1.0
    difference = (rows["divergence"] - rows["mean_divergence"]).abs()
    assert 0 < inside.float().mean() < 1
    assert difference[inside].max() < 1e-3
    assert difference[~inside].max() > 1e-3
    assert rows["mismatch"].max() < 1e-3


def test_a_longer_vocabulary_is_cut() -> None:
    small, expert, data = causal(1), causal(2), prompts()
    wide = causal(0, vocabulary=14)
    rows = run(fused_decoding, wide, small, [expert], data, max_tokens=5)
    assert rows["generated"].max() < 11


SMALL_ATTENTION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 11,
}
STATES = {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 2, "vocab_size": 11}
FAMILIES = {
    "gpt2": {**GPT2, "vocab_size": 11},
    "llama": SMALL_ATTENTION,
    "gemma2": {**SMALL_ATTENTION, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 11},
    "mamba": STATES,
    "mamba2": {**STATES, "num_heads": 4, "head_dim": 8, "n_groups": 2, "chunk_size": 4},
    "jamba": {
        **SMALL_ATTENTION,
        "num_key_value_heads": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "num_experts": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
    },
}

NEWER = ("gemma2", "mamba", "mamba2", "jamba")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("family", FAMILIES)
def test_models_of_transformers_decode_with_their_own_memory(family) -> None:
    """Attention, windows, states and both in turn: with a memory, padding and rows that end apart, as each row by itself without."""
    transformers = pytest.importorskip("transformers")
    if family in NEWER and int(transformers.__version__.partition(".")[0]) < 5:
        pytest.skip("before transformers 5 these have memories of other kinds, which raise where rows end apart")
    one, data, stop = tiny(family, seed=1, **FAMILIES[family]), prompts(seed=1), (3, 4, 5)
    rows = run(decoding, one, data, max_tokens=6, stop=list(stop))
    with torch.no_grad():
        assert rows["generated"].tolist() == by_hand(lambda tokens: one(tokens).logits, data.rows(), 6, stop)
    assert len(set(rows["emitted"].sum(1).tolist())) > 1
    fused = run(fused_decoding, one, one, [one], data, max_tokens=6, stop=list(stop))
    assert torch.equal(fused["generated"], rows["generated"])


def test_models_that_read_padding_wrongly_are_refused() -> None:
    pytest.importorskip("transformers")
    sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    bart = tiny("bart", d_model=16, vocab_size=11, encoder_attention_heads=2, decoder_attention_heads=2, **sizes)
    with pytest.raises(InputError, match="reads a padded prompt otherwise than that prompt alone"):
        run(decoding, bart, prompts(), max_tokens=3)
    rwkv = tiny("rwkv", vocab_size=11, hidden_size=16, num_hidden_layers=2, context_length=64)
    with pytest.raises(InputError, match="writes one row at a time: use batch_size: 1"):
        run(decoding, rwkv, prompts(), max_tokens=3)
    whole = dataset(tokens=torch.randint(1, 11, (4, 5)), mask=torch.ones(4, 5, dtype=torch.bool))
    for one, size in ((bart, 4), (rwkv, 1)):
        rows = run(decoding, one, whole, max_tokens=4, stop=[3], batch_size=size)
        with torch.no_grad():
            assert rows["generated"].tolist() == by_hand(
                lambda tokens, one=one: one(tokens).logits, whole.rows(), 4, (3,)
            )


def test_what_decoding_adds_is_known_before_it_runs(session) -> None:
    for arm, experts in (("dynamic", 1), ("dynamic_multi", 2)):
        ready = session("dynamic_logit_fusion", *[f"data.{k}={v}" for k, v in SMALL.items()], arm=arm)
        shapes = {stage.name: stage.shapes for stage in ready.plan().stages}
        assert shapes["traces[0].trace"]["first"][1:] == [experts, 1]
