"""The ``confusion`` stage: which class a model takes for which."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.data.pictures import picture
from kdrun.data.words import reader_of
from kdrun.errors import InputError
from kdrun.registry import stage
from kdrun.runtime.artifacts import Artifact, Model, Tensors, Value
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Unsigned

__all__ = ["confusion"]

LONGEST = 400
"""Characters of a row's text that are shown."""


@stage(value="tensor", types={"shown": "value"}, random=False)
def confusion(
    model: Model,
    data: Dataset,
    *,
    input: str = "image",
    largest: Count = 30,
    rows: Unsigned = 24,
    batch_size: Count = 512,
    context: Context,
) -> dict[str, Artifact]:
    """Count the rows of each class [classes] by the class that a classifier answers: [classes, classes], int64, a row a label.

    The field ``shown`` is what pages show: the matrix up to ``largest`` classes, else as many of its most confused pairs, and
    recall and precision of each class, and at most ``rows`` of the rows that are wrong, the surest first: small pictures where they
    are images, and what they say where they are tokens. Raises ``InputError`` for labels or answers that are not of one class a row.
    """
    module = context.module(model, role="model")
    columns = outputs_over(module, data, {}, input=input, batch_size=batch_size, context=context)
    logits, label = _of_classes(columns, context.config_key)
    classes = logits.shape[1]
    counts = (label * classes + logits.argmax(1)).bincount(minlength=classes * classes).reshape(classes, classes)
    names = data.info.class_names
    told = list(names) if names is not None and len(names) == classes else [str(i) for i in range(classes)]
    return {
        "": Tensors({"": counts}),
        "shown": Value({**_shown(counts, told, largest), "wrong": _wrong(logits, label, data, input, rows)}),
    }


def _wrong(logits: Tensor, label: Tensor, data: Dataset, input: str, most: int) -> list[dict[str, Any]]:
    """The wrong rows of logits [rows, classes] whose answers are most probable: number in the data, label, answer, probability, picture or text."""
    probability, answer = logits.double().softmax(1).max(1)
    wrong = (answer != label).nonzero().flatten()
    surest = wrong[probability[wrong].argsort(descending=True, stable=True)][:most]
    if not len(surest):
        return []
    columns = data.select(surest).rows()
    column = input if input in data.info.columns else next(iter(data.info.columns))
    told = [_told(value, data) for value in columns[column]]
    index = columns.get("index", surest)
    return [
        {
            "row": int(index[i]),
            "label": int(label[row]),
            "answer": int(answer[row]),
            "probability": float(probability[row]),
            **told[i],
        }
        for i, row in enumerate(surest.tolist())
    ]


def _told(value: Tensor, data: Dataset) -> dict[str, str]:
    """A row's ``picture`` where it is an image, its ``text`` where it is tokens [length] (int64), else nothing."""
    if value.dtype == torch.int64 and value.dim() == 1:
        return {"text": reader_of(data)(value)[:LONGEST]}
    drawn = picture(value)
    return {} if drawn is None else {"picture": drawn}


def _of_classes(columns: dict[str, Tensor], key: str) -> tuple[Tensor, Tensor]:
    """Logits [rows, classes] and labels [rows] (int64). Raises ``InputError`` where there are none such."""
    logits, label = columns.get("logits"), columns.get("label")
    if logits is None or logits.dim() != 2:
        raise InputError("confusion counts answers [rows, classes]; this model gives none", key=f"{key}.from")
    if label is None or label.dim() != 1 or label.is_floating_point():
        raise InputError("confusion counts one class a row; the data have no such column 'label'", key=f"{key}.from")
    if len(label) and not 0 <= int(label.min()) <= int(label.max()) < logits.shape[1]:
        found = f"{int(label.min())} to {int(label.max())}"
        raise InputError(f"the model knows {logits.shape[1]} classes, the labels are {found}", key=f"{key}.from")
    return logits, label.long()


def _shown(counts: Tensor, names: list[str], largest: int) -> dict[str, Any]:
    """Counts [classes, classes] as JSON: names, rows and answers and right ones by class, and the matrix or its worst pairs."""
    found: dict[str, Any] = {
        "kind": "confusion",
        "names": names,
        "rows": counts.sum(1).tolist(),
        "answers": counts.sum(0).tolist(),
        "right": counts.diagonal().tolist(),
    }
    if len(names) <= largest:
        return {**found, "counts": counts.tolist()}
    wrong = counts - torch.diag(counts.diagonal())
    order = wrong.flatten().argsort(descending=True, stable=True)[:largest].tolist()
    pairs = [[i // len(names), i % len(names), int(wrong.flatten()[i])] for i in order]
    return {**found, "pairs": [pair for pair in pairs if pair[2]]}
