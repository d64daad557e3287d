"""Padded text: models say of it what they say of the text alone, wherever they are asked."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.masks import mask_column
from kdrun.runtime.artifacts import Model
from kdrun.stages.evaluate import evaluate
from kdrun.stages.predict import predict
from support.contexts import stage_context
from support.language import GPT2, saved, tiny

pytest.importorskip("transformers")

LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 71}
BERT = {**LLAMA, "max_position_embeddings": 32}
SIZES = {"gpt2": GPT2, "llama": {**LLAMA, "eos_token_id": 2}, "bert": BERT, "roberta": {**BERT, "pad_token_id": 1}}


def classifier(name: str, task: str = "sequence_classification", **config):
    spec = {"model": "transformers", "name": name, "task": task, "pretrained": False, "num_classes": 3}
    model = build({**spec, "config": {**SIZES.get(name, {}), **config}}, seed=(0,)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return model


def padded(side: str, padding: int, rows: int = 5, length: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens with a mask; rows of several lengths, whose last token is sometimes the one that ends texts."""
    tokens = torch.randint(3, 71, (rows, length), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(length) < 3 + torch.arange(rows)[:, None]
    tokens[0, 2] = 1
    if side == "left":
        return tokens.masked_fill(~mask, padding).flip(1), mask.flip(1)
    return tokens.masked_fill(~mask, padding), mask


def alone(model, tokens, mask) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(row[real][None]).logits for row, real in zip(tokens, mask, strict=True)])


@pytest.mark.parametrize("padding", [0, 1, 9])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_text_is_classified_by_its_last_real_token(name, side, padding) -> None:
    model = classifier(name)
    tokens, mask = padded(side, padding)
    whole = classifier(name, pad_token_id=70)  # of a row without padding the last token counts, whatever it is
    said = model(tokens, attention_mask=mask).logits
    torch.testing.assert_close(said, alone(whole, tokens, mask), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_encoders_heed_a_mask(name) -> None:
    model = classifier(name)
    tokens, mask = padded("right", 1 if name == "roberta" else 0)
    if name == "roberta":
        tokens = tokens.where(tokens != 1, torch.where(mask, 5, 1))  # its places are counted over ids that do not pad
    said = model(tokens, attention_mask=mask).logits
    torch.testing.assert_close(said, alone(model, tokens, mask), atol=1e-5, rtol=1e-4)


def test_logits_of_each_token_are_those_of_the_text_alone() -> None:
    model = classifier("gpt2", "causal_lm")
    tokens, mask = padded("left", 0)
    said = model(tokens, attention_mask=mask).logits
    with torch.no_grad():
        expected = [model(row[real][None]).logits[0] for row, real in zip(tokens, mask, strict=True)]
    torch.testing.assert_close(said[mask], torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_without_a_mask_the_token_that_ends_texts_pads() -> None:
    model = classifier("llama")
    assert model.config.pad_token_id == 2
    tokens, mask = padded("right", 2)
    torch.testing.assert_close(model(tokens).logits, alone(model, tokens, mask), atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match=r"knows no token that pads: give config: \{pad_token_id: ID\}"):
        classifier("llama", eos_token_id=None)
    assert classifier("llama", eos_token_id=None, pad_token_id=4).config.pad_token_id == 4


def test_a_tokenizer_beside_the_weights_says_what_pads(tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    import transformers

    folder = saved(tmp_path, tiny("gpt2", "SequenceClassification", **GPT2, num_labels=3))
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[?]": 0, "end": 1, "[PAD]": 7}, unk_token="[?]"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]").save_pretrained(folder)
    assert classifier(folder).config.pad_token_id == 7


def text(side: str) -> MemoryDataset:
    tokens, mask = padded(side, 9)
    columns = {"tokens": Column((7,), torch.int64), "mask": Column((7,), torch.bool), "label": Column((), torch.int64)}
    return MemoryDataset({"tokens": tokens, "mask": mask, "label": torch.arange(5) % 3}, DataInfo(columns, 3))


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mask_reaches_predict_and_evaluate(side) -> None:
    model, data = classifier("gpt2"), text(side)
    expected = alone(classifier("gpt2", pad_token_id=70), data.column("tokens"), data.column("mask"))
    kept = Model(dict(model.kdrun_spec), model.state_dict())
    said = predict(kept, data, context=stage_context())[""].values[""]
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=1e-4)
    (row,) = evaluate(kept, data, metrics=[{"metric": "nll"}], context=stage_context())[""].rows
    wanted = torch.nn.functional.cross_entropy(expected, data.column("label")).item()
    assert row["nll"] == pytest.approx(wanted, rel=1e-4)


def test_a_mask_stands_beside_its_own_tokens() -> None:
    ids, real = Column((7,), torch.int64), Column((7,), torch.bool)
    columns = {
        "tokens": ids,
        "mask": real,
        "teacher_tokens": ids,
        "teacher_mask": Column((7,), torch.int64),
        "other_tokens": ids,
        "image": Column((7,)),
    }
    assert [mask_column(columns, name) for name in ("tokens", "teacher_tokens", "other_tokens", "image")] == [
        "mask",
        "teacher_mask",
        None,
        None,
    ]
    assert mask_column({"tokens": ids, "mask": Column((8,), torch.bool)}, "tokens") is None
    assert mask_column({"input_ids": ids, "attention_mask": real}, "input_ids") == "attention_mask"


@pytest.mark.parametrize("model", ["encoder_transformer", "causal_transformer"])
def test_own_models_heed_a_mask_whatever_pads(model) -> None:
    made = build(
        {"model": model, "vocabulary": 71, **({"num_classes": 3} if model == "encoder_transformer" else {})}, seed=(0,)
    ).eval()
    tokens, mask = padded("right", 9)
    with torch.no_grad():
        said = made(tokens, mask=mask)
        for row in range(5):
            own = made(tokens[row : row + 1, mask[row]])[0]
            torch.testing.assert_close(said[row] if own.dim() == 1 else said[row, mask[row]], own, atol=1e-5, rtol=1e-4)
