"""The index of a graph's triples."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.data.knowledge_graphs import graph_info
from kdrun.errors import InputError
from kdrun.ops.knowledge_graphs import known_answers, known_triples
from kdrun.parts.knowledge_graphs import triple_index
from support.knowledge_graphs import ENTITIES, triples

TRUE = [(0, 0, 1), (0, 0, 2), (0, 0, 3), (4, 0, 3), (1, 1, 0)]


def test_the_index_knows_its_triples_and_no_others() -> None:
    index = triple_index(triples(TRUE[:3]), triples(TRUE[3:]))
    every = torch.cartesian_prod(torch.arange(ENTITIES), torch.arange(2), torch.arange(ENTITIES))
    found = known_triples(*every.unbind(1), index)
    assert {tuple(row) for row in every[found].tolist()} == set(TRUE)
    assert index["degree"].tolist()[:5] == [4.0, 2.0, 1.0, 2.0, 1.0]
    assert not known_triples(*every.unbind(1), {**index, "keys": index["keys"][:0]}).any()


def test_known_answers_are_those_of_either_side() -> None:
    index = triple_index(triples(TRUE))
    head, relation, tail = torch.tensor([0, 4]), torch.tensor([0, 0]), torch.tensor([9, 3])
    assert known_answers(head, relation, tail, index)[0].nonzero().flatten().tolist() == [1, 2, 3]
    assert known_answers(head, relation, tail, index, side="head")[1].nonzero().flatten().tolist() == [0, 4]


def test_the_share_of_heads_is_tails_per_head_against_heads_per_tail() -> None:
    share = triple_index(triples([(0, 0, t) for t in range(1, 9)], relations=3))["head_share"]
    assert share.tolist() == pytest.approx([8 / 9, 0.5, 0.5])  # eight tails per head, one head per tail
    with pytest.raises(InputError, match="triples of a knowledge graph"):
        triple_index(MemoryDataset({"head": torch.arange(3)}, graph_info(None, None, 4)["train"]))
