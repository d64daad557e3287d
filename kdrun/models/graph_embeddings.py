"""Embeddings of the entities and relations of a knowledge graph."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.ops.knowledge_graphs import triple_score
from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["GraphEmbedding"]

AT_ONCE = 1 << 25
"""Numbers in the largest intermediate tensor when all entities are scored."""


@model(name="graph_embedding")
class GraphEmbedding(nn.Module):
    """A vector for every entity and relation, scored by ``triple_score``: TransE, DistMult, ComplEx, RotatE or SimplE.

    ``dim`` real numbers an entity, halves being real and imaginary parts for ``complex`` and ``rotate``; RotatE's
    relations are angles, half as many. ``norm`` is that of the distances of ``transe`` (1 or 2). ``normalize`` gives
    entities length 1 before they are scored (TransE's constraint). First weights are Xavier-uniform, angles uniform
    over the circle.

    Reads numbers ``head``, ``relation`` and ``tail`` (int64) of one shape and gives their scores, of that shape, higher
    for likelier triples; called with ``candidates``, of each [batch] with every entity at that end: [batch, entities].
    Raises ``InputError`` for an odd ``dim`` where vectors are halves.

    >>> network = models.graph_embedding(dim=8, entities=5, relations=2)
    >>> numbers = torch.tensor([0, 1, 2])
    >>> network(numbers, torch.tensor([0, 1, 0]), numbers).shape
    torch.Size([3])
    >>> network(numbers, torch.tensor([0, 1, 0]), numbers, candidates="tail").shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        *,
        function: Literal["transe", "distmult", "complex", "rotate", "simple"] = "distmult",
        dim: Count = 64,
        norm: Literal[1, 2] = 1,
        normalize: bool = False,
        entities: Size = "auto",
        relations: Size = "auto",
    ) -> None:
        super().__init__()
        if dim % 2 and function in ("complex", "rotate", "simple"):
            raise InputError(f"'{function}' reads vectors as two halves: dim is even, got {dim}")
        self.function, self.norm, self.normalize = function, norm, normalize
        self.entities = nn.Embedding(int(entities), dim)
        self.relations = nn.Embedding(int(relations), dim // 2 if function == "rotate" else dim)
        nn.init.xavier_uniform_(self.entities.weight)
        if function == "rotate":
            nn.init.uniform_(self.relations.weight, -math.pi, math.pi)
        else:
            nn.init.xavier_uniform_(self.relations.weight)

    def vectors(self, entity: Tensor | None = None) -> Tensor:
        """Vectors of entities (int64, any shape), or of all: [..., dim]."""
        found = self.entities.weight if entity is None else self.entities(entity)
        return F.normalize(found, dim=-1) if self.normalize else found

    def forward(
        self, head: Tensor, relation: Tensor, tail: Tensor, *, candidates: Literal["head", "tail"] | None = None
    ) -> Tensor:
        """Scores of triples of numbers (int64) of one shape; with ``candidates``, of each [batch] with every entity there.

        [batch, entities] then: the end that ``candidates`` names is not read.
        """
        between = self.relations(relation)
        if candidates is None:
            return self._score(self.vectors(head), between, self.vectors(tail))
        between = between[:, None]
        fixed = self.vectors(tail if candidates == "head" else head)[:, None]
        size = max(AT_ONCE // max(fixed.numel(), 1), 1)
        parts = []
        for chunk in self.vectors().split(size):
            ends = (chunk[None], fixed) if candidates == "head" else (fixed, chunk[None])
            parts.append(self._score(ends[0], between, ends[1]))
        return torch.cat(parts, dim=1)

    def _score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        return triple_score(head, relation, tail, function=self.function, norm=self.norm)
