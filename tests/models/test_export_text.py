"""Models of text as files for other programs: they say what the original says, of any number of texts of any length."""

from __future__ import annotations

import json

import pytest
import torch

from kdrun.models.building import build, restored
from kdrun.models.export import export
from support.language import GPT2

LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 71}
MODELS = {
    "gpt2": {"name": "gpt2", "task": "causal_lm", "config": GPT2},
    "llama": {"name": "llama", "task": "causal_lm", "config": LLAMA},
    "a classifier": {"name": "gpt2", "task": "sequence_classification", "config": GPT2},
    "an encoder": {"name": "bert", "task": "sequence_classification", "config": LLAMA},
}
READ = {"column": "tokens", "shape": [9], "dtype": "int64"}


def made(name: str):
    if name == "own":
        return build(
            {"model": "causal_transformer", "vocabulary": 71, "dim": 16, "depth": 1, "heads": 2}, seed=(0,)
        ).eval()
    pytest.importorskip("transformers")
    spec = {"model": "transformers", "pretrained": False, "dtype": "float32", "num_classes": 3, **MODELS[name]}
    return build(spec, seed=(0,)).eval()


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(3, 71, (5, 7), generator=torch.Generator().manual_seed(0))
    return tokens, torch.arange(7) < torch.tensor([[7], [3], [5], [2], [6]])


def said(model, tokens, mask=None) -> torch.Tensor:
    word = "mask" if type(model).__name__ == "CausalTransformer" else "attention_mask"
    with torch.no_grad():
        output = model(tokens, **({} if mask is None else {word: mask}))
    return output if isinstance(output, torch.Tensor) else output.logits


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["own", *MODELS])
def test_a_program_of_torch_says_what_the_model_says(tmp_path, name, masked) -> None:
    model, (tokens, mask) = made(name), texts()
    export(
        model.kdrun_spec,
        model.state_dict(),
        {**READ, **({"mask": "mask"} if masked else {})},
        "torch",
        tmp_path / "m.pt2",
    )
    program = torch.export.load(tmp_path / "m.pt2").module()
    given = (tokens, mask) if masked else (tokens,)
    torch.testing.assert_close(program(*given), said(model, *given), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["own", *MODELS])
def test_weights_come_back(tmp_path, name) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    model, (tokens, mask) = made(name), texts()
    export(model.kdrun_spec, model.state_dict(), READ, "safetensors", tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        told = json.loads(file.metadata()["kdrun"])
    again = restored(told["model"], load_file(tmp_path / "m.safetensors"))
    assert torch.equal(said(again, tokens, mask), said(model, tokens, mask))


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["own", "gpt2", "llama", "an encoder"])
def test_onnx_says_what_the_model_says(tmp_path, name, masked) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, (tokens, mask) = made(name), texts()
    export(
        model.kdrun_spec,
        model.state_dict(),
        {**READ, **({"mask": "mask"} if masked else {})},
        "onnx",
        tmp_path / "m.onnx",
    )
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == (["tokens", "mask"] if masked else ["tokens"])
    given = {"tokens": tokens.numpy(), **({"mask": mask.numpy()} if masked else {})}
    (found,) = session.run(["logits"], given)
    torch.testing.assert_close(
        torch.from_numpy(found), said(model, tokens, mask if masked else None), atol=1e-4, rtol=1e-3
    )
