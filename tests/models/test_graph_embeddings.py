"""Embeddings of knowledge graphs: widths, and scores of all candidates."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.graph_embeddings import GraphEmbedding
from kdrun.ops.knowledge_graphs import triple_score
from support.knowledge_graphs import vectors


def test_halves_need_an_even_width() -> None:
    with pytest.raises(InputError, match="width 3 is odd"):
        triple_score(*vectors(2, 3), function="complex")
    with pytest.raises(InputError, match="dim is even"):
        GraphEmbedding(function="rotate", dim=5, entities=3, relations=1)


@pytest.mark.parametrize("function", ["transe", "distmult", "complex", "rotate", "simple"])
def test_all_candidates_score_as_one_by_one(function, monkeypatch) -> None:
    model = GraphEmbedding(function=function, dim=6, entities=7, relations=3, normalize=function == "transe")
    head, relation, tail = torch.tensor([0, 1, 5]), torch.tensor([2, 0, 1]), torch.tensor([4, 4, 6])
    every = torch.arange(7).expand(3, 7)
    wide = [x[:, None].expand(3, 7) for x in (head, relation, tail)]
    monkeypatch.setattr("kdrun.models.graph_embeddings.AT_ONCE", 50)  # several pieces
    assert torch.allclose(model(head, relation, tail, candidates="tail"), model(wide[0], wide[1], every), atol=1e-6)
    assert torch.allclose(model(head, relation, tail, candidates="head"), model(every, wide[1], wide[2]), atol=1e-6)
    model(head, relation, tail).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    if function == "transe":
        assert torch.allclose(model.vectors().norm(dim=1), torch.ones(7))
