"""Parts of the ``show`` stage for images and maps over them: what was drawn, and where a model looks or counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.data.pictures import picture
from kdrun.errors import InputError, nearest
from kdrun.registry import show
from kdrun.runtime.artifacts import Value
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["images", "maps"]


@show(fields=("shown",))
def images(
    *data: Dataset, names: list[str] | None = None, column: str = "image", rows: Count = 24, every: Count = 1
) -> dict[str, Value]:
    """``rows`` rows of each data set as small pictures, every ``every``-th from the first on: samples of a generator, say.

    ``column`` holds images [rows, 1 or 3, height, width] (floating point); each goes from its least value, black, to its
    greatest, white. ``names`` says what each data set is. A row's ``label`` [rows] (int64) stands below its picture, if there is one.
    Raises ``InputError`` for a column that is not there or holds no images, or another number of names.

    >>> pool = data.MemoryDataset({"image": torch.zeros(2, 1, 4, 4)}, data.DataInfo({}))
    >>> [len(group["images"]) for group in parts.images(pool)["shown"].value["groups"]]
    [2]
    """
    if names is not None and len(names) != len(data):
        raise InputError(f"{len(data)} data sets need as many names, got {len(names)}", key="names")
    groups = [_group(one, column, rows, every) for one in data]
    told = names or ([""] if len(data) == 1 else [str(i + 1) for i in range(len(data))])
    named = [{"name": name, "images": group} for name, group in zip(told, groups, strict=True)]
    return {"shown": Value({"kind": "images", "groups": named})}


def _group(data: Dataset, column: str, rows: int, every: int) -> list[dict[str, Any]]:
    found = data.select(torch.arange(0, len(data), every)[:rows]).rows()
    if column not in found:
        raise InputError(f"the data has no column '{column}'{nearest(column, found)}; it has: {', '.join(found)}")
    drawn = [picture(image) for image in found[column]]
    if None in drawn:
        raise InputError(f"'{column}' holds no images [rows, 1 or 3, height, width]: got {list(found[column].shape)}")
    label, names = found.get("label"), data.info.class_names
    if label is None or label.dim() != 1 or label.is_floating_point():
        return [{"row": row, "picture": one} for row, one in zip(found["index"].tolist(), drawn, strict=True)]
    told = [names[i] if names is not None and 0 <= i < len(names) else str(i) for i in label.tolist()]
    triples = zip(found["index"].tolist(), drawn, told, strict=True)
    return [{"row": row, "picture": one, "caption": caption} for row, one, caption in triples]


@show(fields=("shown",))
def maps(
    model: Module,
    data: Dataset,
    *,
    of: str = "logits",
    taps: dict[str, str] | None = None,
    truth: str | None = None,
    input: str = "image",
    rows: Count = 8,
    batch_size: Count = 64,
    context: Context,
) -> dict[str, Value]:
    """What a model says or sees at each place of the first ``rows`` images, as maps: a density, or the attention of a layer.

    ``of`` is what the model gives (``logits``) or one of ``taps``, [rows, channels, height, width] or [rows, height, width]; of
    several channels the mean square is shown (Zagoruyko and Komodakis, 2017). ``truth`` names a column of maps to stand beside,
    drawn on the same scale. With one channel the sums of both are told, as counts are. Raises ``InputError`` for what is no map.
    """
    chosen = data.select(torch.arange(min(rows, len(data))))
    columns = outputs_over(model, chosen, taps or {}, input=input, batch_size=batch_size, context=context)
    if of not in columns:
        raise InputError(f"the model gives no '{of}'{nearest(of, columns)}", key=f"{context.config_key}.of")
    whole = chosen.rows()
    if truth is not None and truth not in whole:
        raise InputError(f"the data has no column '{truth}'{nearest(truth, whole)}", key=f"{context.config_key}.truth")
    found = _map(columns[of], of, context.config_key)
    true = None if truth is None else _map(whole[truth], truth, context.config_key)
    told = [
        _row(number, whole[input][i], found[i], None if true is None else true[i], counted=_is_single(columns[of]))
        for i, number in enumerate(whole["index"].tolist())
    ]
    return {"shown": Value({"kind": "maps", "rows": told})}


def _is_single(values: Tensor) -> bool:
    return values.dim() == 3 or values.shape[1] == 1


def _map(values: Tensor, name: str, key: str) -> Tensor:
    """Maps [rows, height, width], float32, of one channel or of the mean square over several."""
    if values.dim() == 4:
        values = values[:, 0] if values.shape[1] == 1 else values.float().square().mean(1)
    if values.dim() != 3:
        raise InputError(f"'{name}' {list(values.shape)} is no map [rows, channels, height, width]", key=key)
    return values.float()


def _row(number: int, image: Tensor, found: Tensor, true: Tensor | None, *, counted: bool) -> dict[str, Any]:
    """One image, its map and perhaps the true one: both from the least to the greatest value of either."""
    both = torch.cat([found.flatten(), *([] if true is None else [true.flatten()])])
    bounds = float(both.min()), float(both.max())
    row: dict[str, Any] = {"row": number, "image": picture(image), "map": picture(found[None], bounds=bounds)}
    if true is not None:
        row["truth"] = picture(true[None], bounds=bounds)
    if counted:
        row["sum"] = float(found.sum())
        row |= {} if true is None else {"true_sum": float(true.sum())}
    return row
