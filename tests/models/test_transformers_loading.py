"""Models of transformers from folders: planned by their configuration, run with their weights, in the precision that is asked for."""

from __future__ import annotations

import pytest
import torch

from kdrun import models
from kdrun.errors import InputError
from kdrun.models.building import build
from support.language import GPT2, TRAINED, WORDS, saved, tiny
from support.recipes import write_recipe

pytest.importorskip("transformers")


def dtypes(module) -> set[torch.dtype]:
    return {value.dtype for value in module.state_dict().values()}


@pytest.fixture
def half(tmp_path):
    """A folder with a small model whose weights were saved in half precision, and the model."""
    made = tiny("gpt2", **GPT2).to(torch.float16)
    return saved(tmp_path / "half", made), made


@pytest.mark.parametrize("pretrained", [True, False])
def test_weights_are_float32_unless_another_precision_is_asked_for(half, pretrained) -> None:
    folder, made = half
    network = models.transformers(name=folder, pretrained=pretrained)
    assert dtypes(network) == {torch.float32}
    if pretrained:
        for name, value in network.state_dict().items():
            assert torch.equal(value, made.state_dict()[name].float())
    assert dtypes(models.transformers(name=folder, pretrained=pretrained, dtype="bfloat16")) == {torch.bfloat16}
    assert dtypes(models.transformers(name=folder, pretrained=pretrained, dtype="auto")) == {torch.float16}
    with torch.device("meta"):
        assert dtypes(models.transformers(name=folder, pretrained=pretrained)) == {torch.float32}
    with pytest.raises(InputError, match="the precision of weights stands beside config, as dtype"):
        models.transformers(name=folder, pretrained=pretrained, config={"dtype": "bfloat16"})


def test_encoders_inside_other_models_are_float32(tmp_path) -> None:
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 30,
    }
    folder = saved(tmp_path, tiny("bert", "MaskedLM", **small).to(torch.float16))
    assert dtypes(models.sentence_encoder(name=folder)) == {torch.float32}
    assert dtypes(models.adapter_tagger(pretrained=folder, num_classes=2)) == {torch.float32}


def test_a_step_of_adam_on_weights_saved_in_half_precision_stays_finite(half) -> None:
    network = models.transformers(name=half[0], pretrained=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randint(60, (4, 8))).logits.square().mean().backward()
        optimizer.step()
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_run_starts_from_the_weights_and_its_plan_reads_none(kdrun, tmp_path, half) -> None:
    recipe = write_recipe(tmp_path, TRAINED)
    words = [
        "student=transformers",
        "student.task=causal_lm",
        f"student.name={half[0]}",
        "student.pretrained=true",
        *WORDS,
    ]
    weights = next((tmp_path / "half").glob("*.safetensors"))
    hidden = weights.rename(tmp_path / "hidden")
    planned = kdrun("plan", recipe, *words)
    assert planned.code == 0, planned.err
    missing = kdrun("run", recipe, *words)
    assert missing.code == 2
    assert "transformers cannot load" in missing.err.strip().splitlines()[-1]
    hidden.rename(weights)
    frozen = kdrun("run", recipe, *words, "optimizer.lr=1e-12")
    assert frozen.code == 0, frozen.err
    assert "Loading weights" not in frozen.err
    run = max(tmp_path.glob("runs/*/*/models.json")).parent
    assert kdrun("export", str(run), "--output", "student.safetensors").code == 0
    from safetensors.torch import load_file

    state = load_file(tmp_path / "student.safetensors")
    torch.testing.assert_close(state["transformer.wte.weight"], half[1].transformer.wte.weight.float())


def test_a_folder_without_weights_is_refused_in_a_line(tmp_path, half) -> None:
    next((tmp_path / "half").glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match="transformers cannot load"):
        build({"model": "transformers", "name": half[0], "task": "causal_lm", "pretrained": True, "num_classes": 2})
