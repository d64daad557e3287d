"""A configuration says what a model of transformers is, not where the library fetches, writes or finds code."""

from __future__ import annotations

import pytest

from kdrun import models
from kdrun.errors import InputError

pytest.importorskip("transformers")

SMALL = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def folder(tmp_path):
    """A folder with a small model as the library writes it."""
    import transformers

    transformers.AutoModel.from_config(transformers.AutoConfig.for_model("bert", **SMALL)).save_pretrained(
        tmp_path / "it"
    )
    return str(tmp_path / "it")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cache_dir", "elsewhere"),
        ("token", "secret"),
        ("revision", "main"),
        ("code_revision", "main"),
        ("trust_remote_code", True),
        ("proxies", {"http": "127.0.0.1:9"}),
        ("offload_folder", "elsewhere"),
        ("quantization_config", {"load_in_8bit": True}),
        ("auto_map", {"AutoModel": "code.Model"}),
        ("_attn_implementation", "sdpa"),
    ],
)
def test_options_of_the_loader_are_refused_with_weights_and_without(
    folder, tmp_path, monkeypatch, option, value
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ({"name": "bert"}, {"name": folder}, {"name": folder, "pretrained": True}):
        with pytest.raises(InputError, match=f"'{option}' is no setting of a model of this kind"):
            models.transformers(**words, task="masked_lm", config={option: value})
    with pytest.raises(InputError, match=f"'{option}' is no setting"):
        models.sentence_encoder(name=folder, config={option: value})
    assert not (tmp_path / "elsewhere").exists()


def test_a_kernel_from_a_hub_is_no_way_to_attend() -> None:
    with pytest.raises(InputError, match="attn_implementation is one of eager, sdpa, got 'someone/kernel'"):
        models.transformers(name="bert", config={**SMALL, "attn_implementation": "someone/kernel"})
    assert models.transformers(name="bert", task="masked_lm", config={**SMALL, "attn_implementation": "eager"})


def test_a_misspelt_setting_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean 'hidden_size'\?"):
        models.transformers(name="bert", config={"hiden_size": 8})


def test_settings_of_the_architecture_pass_under_both_of_their_names(folder) -> None:
    network = models.transformers(name="gpt2", config={"hidden_size": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20})
    assert network.config.n_embd == 8
    loaded = models.transformers(name=folder, task="masked_lm", pretrained=True, config={"hidden_dropout_prob": 0.0})
    assert loaded.config.hidden_dropout_prob == 0.0


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ({"cache_dir": "elsewhere"}, "in vision_config: 'cache_dir' is no setting"),
        ({"auto_map": {"AutoModel": "code.Model"}}, "in vision_config: 'auto_map' is no setting"),
        ({"model_type": "bert"}, "in vision_config: 'model_type' is no setting"),
        ({"attn_implementation": "someone/kernel"}, "in vision_config: attn_implementation is one of eager, sdpa"),
        ({"hiden_size": 8}, r"in vision_config: 'hiden_size' .*did you mean 'hidden_size'"),
        ({"hidden_size": {"a": 1}}, "in vision_config: hidden_size is no mapping"),
    ],
)
def test_settings_of_inner_models_are_checked_alike(inner, told) -> None:
    from kdrun.models.transformers_options import configuration

    with pytest.raises(InputError, match=told):
        configuration("clip", {"vision_config": inner}, architecture="clip")
    assert (
        configuration("clip", {"vision_config": {"image_size": 64}}, architecture="clip").vision_config.image_size == 64
    )


def test_what_is_handed_on_to_another_library_is_refused() -> None:
    from kdrun.models.transformers_options import configuration

    with pytest.raises(InputError, match="'model_args' is no setting"):
        configuration("timm_wrapper", {"model_args": {"checkpoint_path": "x"}}, architecture="timm_wrapper")
    with pytest.raises(InputError, match="num_attention_heads is no list of mappings"):
        configuration("bert", {"num_attention_heads": [{}]}, architecture="bert")
