"""Small graphs, vectors of entities and relations, and lists of near entities."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.data.knowledge_graphs import graph_info
from kdrun.parts.clustering import cluster_neighbours
from support.tensors import generator

__all__ = ["ENTITIES", "LINE", "lists", "triples", "vectors"]

ENTITIES = 12
LINE = torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0], [13.0], [30.0]])


def triples(rows: list[tuple[int, int, int]], entities: int = ENTITIES, relations: int = 2) -> MemoryDataset:
    """A graph of these (head, relation, tail)."""
    columns = dict(zip(("head", "relation", "tail"), torch.tensor(rows).unbind(1), strict=True))
    return MemoryDataset(columns, graph_info(entities, relations, 4)["train"])


def vectors(*shape: int, seed: int = 0) -> list[torch.Tensor]:
    """Heads, relations and tails as standard normal vectors."""
    return [torch.randn(*shape, generator=generator(seed + i), dtype=torch.float64) for i in range(3)]


def lists(values: torch.Tensor, labels: list[int], **options: Any) -> tuple[list[list[int]], dict[str, torch.Tensor]]:
    """For each entity the others of its cluster, as lists and as the part gives them."""
    found = cluster_neighbours(values, torch.tensor(labels), generator=generator(), **options)
    start = found["start"].tolist()
    return [found["members"][a:b].tolist() for a, b in itertools.pairwise(start)], found
