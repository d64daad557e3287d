"""Parts of the ``reduce`` stage for the triples of a knowledge graph."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops.knowledge_graphs import triple_keys
from kdrun.registry import reduce

__all__ = ["triple_index"]


@reduce(scored=("data",))
def triple_index(*data: Dataset) -> dict[str, Tensor]:
    """What samplers and filters need to know of one or several sets of triples.

    ``keys`` [triples] (int64, sorted): one number a triple, found by bisection; ``degree`` [entities] (float32): how
    many triples each entity is in; ``head_share`` [relations] in [0, 1]: tails per head / (tails per head + heads per
    tail), ½ for a relation without triples (Wang et al., 2014). Raises ``InputError`` if the data does not say how many
    entities and relations there are (``extra``).

    >>> columns = {"head": torch.tensor([0, 0]), "relation": torch.tensor([0, 0]), "tail": torch.tensor([1, 2])}
    >>> triples = data.MemoryDataset(columns, data.DataInfo({}, extra={"entities": 3, "relations": 2}))
    >>> found = parts.triple_index(triples)
    >>> found["degree"], found["head_share"]  # two tails per head, one head per tail
    (tensor([2., 1., 1.]), tensor([0.6667, 0.5000]))
    """
    sizes = {k: data[0].info.extra.get(k) for k in ("entities", "relations")}
    if None in sizes.values():
        raise InputError("triple_index reads triples of a knowledge graph: columns head, relation and tail")
    entities, relations = int(sizes["entities"] or 0), int(sizes["relations"] or 0)
    rows = [d.rows() for d in data]
    head, relation, tail = (torch.cat([r[name] for r in rows]) for name in ("head", "relation", "tail"))
    keys = triple_keys(head, relation, tail, entities=entities, relations=relations).sort().values
    ones = torch.ones(len(head))
    degree = torch.zeros(entities).index_add_(0, head, ones).index_add_(0, tail, ones)
    heads, tails = (_distinct(relation, end, entities, relations) for end in (head, tail))
    # tph : hpt = triples / heads : triples / tails, so the share needs no division by either
    share = torch.where(heads + tails > 0, tails / (heads + tails).clamp_min(1), torch.full_like(heads, 0.5))
    return {"keys": keys, "degree": degree, "head_share": share}


def _distinct(relation: Tensor, end: Tensor, entities: int, relations: int) -> Tensor:
    """How many entities stand at one end of each relation: [relations]."""
    pairs = (relation * entities + end).sort().values
    new = torch.ones(len(pairs))
    new[1:] = (pairs[1:] != pairs[:-1]).to(new.dtype)
    return torch.zeros(relations).index_add_(0, pairs // entities, new)
