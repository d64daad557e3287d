"""Transformers: causality, padding, caches of keys and values."""

from __future__ import annotations

import torch

from kdrun.models.small_transformers import KeyValueCache
from support.models import causal, make


def test_a_causal_transformer_does_not_look_ahead() -> None:
    network = make("causal_transformer", max_length=8).eval()
    tokens = torch.randint(1, 50, (1, 8))
    changed = tokens.clone()
    changed[0, 5] = (tokens[0, 5] + 1) % 50
    first, second = network(tokens), network(changed)
    torch.testing.assert_close(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5:], second[:, 5:])


def test_an_encoder_ignores_padding() -> None:
    network = make("encoder_transformer").eval()
    tokens = torch.randint(1, 50, (1, 6))
    padded = torch.cat([tokens, torch.zeros(1, 4, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(network(tokens), network(padded), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_gives_the_logits_of_the_whole_text() -> None:
    one, tokens = causal(0), torch.randint(1, 11, (3, 9), generator=torch.Generator().manual_seed(1))
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
    one, tokens = causal(0), torch.randint(1, 11, (3, 7), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.full((3, 4), 5), tokens], dim=1)
    mask = (torch.arange(11) >= 4).expand(3, -1)
    torch.testing.assert_close(one(padded, mask=mask)[:, 4:], one(tokens))
