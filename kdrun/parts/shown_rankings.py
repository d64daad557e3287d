"""Part of the ``show`` stage for knowledge graphs: what a model would answer, the likeliest first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.data.words import as_numbers, reader_of, relation_names
from kdrun.errors import InputError
from kdrun.registry import show
from kdrun.runtime.artifacts import Value
from kdrun.runtime.context import Context
from kdrun.types import Count

__all__ = ["rankings"]


@show(fields=("shown",))
def rankings(
    model: Module,
    data: Dataset,
    entities: Dataset,
    known: Dataset | None = None,
    *,
    rows: Count = 12,
    best: Count = 8,
    context: Context,
) -> dict[str, Value]:
    """For the first ``rows`` triples, the ``best`` likeliest tails of all entities, and the rank of the right one.

    Reads ``head``, ``relation`` and ``tail`` [rows] (int64); the model scores every entity when called with ``candidates``.
    ``entities`` has their texts as ``tokens``: an entity is called by its own up to the first comma. Tails that triples of
    ``known`` say of the same head and relation are left out, as filtered ranks do. Raises ``InputError`` for other columns.
    """
    chosen = data.select(torch.arange(min(rows, len(data)))).rows()
    missing = next((name for name in ("head", "relation", "tail") if name not in chosen), None)
    if missing is not None or "tokens" not in entities.info.columns:
        raise InputError(
            "rankings read triples (head, relation, tail) and entities with tokens", key=context.config_key
        )
    ends = [chosen[name].to(context.device) for name in ("head", "relation", "tail")]
    with context.hardware.evaluation(), torch.no_grad():
        scores = model(*ends, candidates="tail").float().cpu()
    names, relations = _names(entities), relation_names(data, int(chosen["relation"].max()) + 1)
    told = known.rows() if known is not None else {}
    found = []
    for i, (head, relation, tail) in enumerate(zip(*(e.tolist() for e in ends), strict=True)):
        row = scores[i].clone()
        if told:
            others = told["tail"][(told["head"] == head) & (told["relation"] == relation)]
            row[others[others != tail]] = -torch.inf
        question = f"{names[head]} · {relations[relation]} · ?"
        found.append({"question": question, "right": names[tail], **_ranked(row, tail, names, best)})
    return {"shown": Value({"kind": "rankings", "queries": found})}


def _ranked(scores: Tensor, tail: int, names: list[str], best: int) -> dict[str, Any]:
    """The rank of the right entity (ties before it count half), and the first ones by score [entities]."""
    rank = 1 + int((scores > scores[tail]).sum()) + (int((scores == scores[tail]).sum()) - 1) / 2
    order = scores.argsort(descending=True, stable=True)[:best].tolist()
    shown = [{"name": names[i], "score": float(scores[i]), "right": i == tail} for i in order if scores[i] > -torch.inf]
    return {"rank": rank, "answers": shown}


def _names(entities: Dataset) -> list[str]:
    """What each entity is called: its text up to the first comma, or its number where texts cannot be read here."""
    read = reader_of(entities)
    if read is as_numbers:
        return [f"entity {i}" for i in range(len(entities))]
    texts = [read(row).partition(",")[0].strip() for row in entities.column("tokens")]
    return [text[:80] or f"entity {i}" for i, text in enumerate(texts)]
