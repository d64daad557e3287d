"""How alike things are."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops import similarity
from kdrun.registry import solve
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["set_pair_similarity"]


@solve(random=False)
def set_pair_similarity(
    data: Dataset,
    encoder: Module | None = None,
    *,
    owner: str = "entity",
    count: Count | None = None,
    aggregate: Literal["max", "mean", "min", "centroid"] = "max",
    batch_size: Count = 512,
    context: Context,
) -> Tensor:
    """How alike things are by the sets of vectors that they own: [count, count] (float32), as the op of this name.

    Each row of ``data`` has the number of its ``owner`` (int64) and a ``vector`` [dim], or ``encoder`` makes one of its
    ``tokens``. ``count`` is by default what the data says (``extra['owners']``). Raises ``InputError`` if either is missing.
    """
    rows = data.rows()
    number = count or data.info.extra.get("owners")
    if number is None:
        raise InputError("set_pair_similarity needs count: this data does not say how many owners it has")
    if encoder is not None:
        features = outputs_over(encoder, data, {}, input="tokens", batch_size=batch_size, context=context)["logits"]
    elif "vector" in rows:
        features = rows["vector"]
    else:
        raise InputError("set_pair_similarity reads a column 'vector', or tokens by an encoder handed in")
    return similarity.set_pair_similarity(features, rows[owner], count=int(number), aggregate=aggregate)
