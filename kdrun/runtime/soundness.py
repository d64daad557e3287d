"""Numbers that are none: NaN in what a stage gives, or in what a model says, ends the run before anything reads it.

Whatever takes the largest or the nearest of such values answers something that looks right: NaN logits are all of class 0.
A table may hold NaN: a metric that is not defined on its rows says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from kdrun.errors import Diverged
from kdrun.runtime.artifacts import Artifact, Data, Model, Tensors

__all__ = ["refuse_nan", "refuse_unsound"]


CHECKED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def refuse_nan(values: Mapping[str, Any], *, key: str = "") -> None:
    """Raise ``Diverged`` for the first of the tensors that has NaN in it, with its name and how many of its rows are spoilt."""
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.dtype not in CHECKED or is_fake(value) or value.is_meta:
            continue
        if (spoilt := value.isnan()).any():
            rows = spoilt.reshape(len(value), -1).any(1) if value.dim() else spoilt
            where = f" in {int(rows.sum())} of {len(value)} rows" if value.dim() else ""
            raise Diverged(f"{name} is NaN{where}", key=key)


def refuse_unsound(result: Mapping[str, Artifact]) -> None:
    """Raise ``Diverged`` where a stage's models, tensors or columns have NaN in them."""
    for field, artifact in result.items():
        of = f" of '{field}'" if field else ""
        if isinstance(artifact, Model) and artifact.state is not None:
            refuse_nan({f"the weight '{name}'{of}": value for name, value in artifact.state.items()})
        elif isinstance(artifact, Tensors):
            named = {f"'{name}'{of}" if name else f"the result{of}": value for name, value in artifact.values.items()}
            refuse_nan(named)
        elif isinstance(artifact, Data):
            refuse_nan({f"the column '{name}'{of}": value for name, value in artifact.columns.items()})
