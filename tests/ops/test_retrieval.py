"""Ranking by shared words."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.ops.retrieval import bm25_scores


def test_scores_are_those_of_the_formula() -> None:
    documents = torch.tensor([[5, 6, 5, 0], [7, 0, 0, 0], [8, 8, 6, 0]])
    found = bm25_scores(torch.tensor([[5, 6, 0], [9, 0, 0]]), documents, k1=1.5, b=0.75)
    rare = {5: math.log(1 + 2.5 / 1.5), 6: math.log(1 + 1.5 / 2.5)}
    norm = 1.5 * (0.25 + 0.75 * 3 / (7 / 3))
    wanted = rare[5] * 2 * 2.5 / (2 + norm) + rare[6] * 2.5 / (1 + norm)
    assert found[0, 0].item() == pytest.approx(wanted)
    assert found[0, 2].item() == pytest.approx(rare[6] * 2.5 / (1 + norm))
    assert found[0, 1] == 0
    assert (found[1] == 0).all()


def test_padding_and_ignored_words_never_match() -> None:
    query, documents = torch.tensor([[101, 5, 0]]), torch.tensor([[101, 6, 0], [101, 5, 0]])
    assert bm25_scores(query, documents, ignored=[0, 101])[0, 0] == 0
    plain = bm25_scores(query[:, 1:2], documents[:, 1:2])
    assert torch.allclose(bm25_scores(query, documents, ignored=[0, 101]), plain)


def test_a_word_asked_twice_counts_twice() -> None:
    documents = torch.tensor([[5, 6], [6, 7]])
    once, twice = bm25_scores(torch.tensor([[5, 0]]), documents), bm25_scores(torch.tensor([[5, 5]]), documents)
    assert torch.allclose(2 * once, twice)
