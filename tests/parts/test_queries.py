"""Rows whose labels are asked for."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.queries import adding_k_centers, adding_top_k, rows_outside
from support.data import dataset
from support.tensors import generator

POOL = dataset(label=torch.arange(200)).select(torch.arange(100, 200))
NOBODY = POOL.select(torch.tensor([], dtype=torch.int64))
SCORES = torch.rand(100, generator=generator())


def test_rounds_never_ask_twice_and_take_the_best_of_what_is_left() -> None:
    chosen = NOBODY
    for _ in range(4):
        chosen = adding_top_k(SCORES, POOL, chosen, k=10)
    best = SCORES.argsort(descending=True)[:40].sort().values
    assert chosen.column("index").tolist() == (100 + best).tolist()
    assert int(rows_outside(POOL, chosen).sum()) == 60
    assert not rows_outside(POOL, chosen)[best].any()
    least = adding_top_k(SCORES, POOL, chosen, k=1, largest=False)
    assert 100 + int(SCORES.argmin()) in least.column("index")


@pytest.mark.parametrize(("share", "rounds", "sizes"), [(0.014, 5, [1, 2, 3, 4, 7]), (0.026, 4, [3, 6, 9, 10])])
def test_the_last_round_takes_what_rounding_has_left(share, rounds, sizes) -> None:
    for adding, given in ((adding_top_k, SCORES), (adding_k_centers, SCORES[:, None])):
        chosen, found = NOBODY, []
        for _ in range(rounds):
            chosen = adding(given, POOL, chosen, share=share, rounds=rounds)
            found.append(len(chosen))
        assert found == sizes


def test_centres_cover_the_features_within_twice_the_best_radius() -> None:
    """The greedy cover's guarantee, where the best is known: one centre in each of five tight clusters."""
    corners = 10 * torch.eye(5).repeat_interleave(20, 0)
    features = corners + 0.1 * torch.randn(100, 5, generator=generator())
    chosen = adding_k_centers(features, POOL, NOBODY, k=5)
    rows = chosen.column("index") - 100
    assert sorted((rows // 20).tolist()) == [0, 1, 2, 3, 4]
    more = adding_k_centers(features, POOL, POOL.select(torch.arange(20)), k=4)
    assert sorted(((more.column("index")[20:] - 100) // 20).tolist()) == [1, 2, 3, 4]


def test_what_cannot_be_asked() -> None:
    with pytest.raises(InputError, match="either k or share"):
        adding_top_k(SCORES, POOL, NOBODY)
    with pytest.raises(InputError, match="one score a row"):
        adding_top_k(SCORES[:3], POOL, NOBODY, k=1)
    with pytest.raises(InputError, match="cannot add 1 rows to 100 of 100"):
        adding_k_centers(SCORES, POOL, POOL, k=1)
