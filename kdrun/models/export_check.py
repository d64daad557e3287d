"""Whether an exported program answers as the model it was made from, asked about the same input."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.errors import InputError

__all__ = ["check_program"]

ROWS = 3
"""How many rows are asked about: another number than a program was traced with."""

TOLERANCE = 1e-3
"""The largest difference that is borne, as a share of the largest entry of what the model answers."""


def check_program(module: Any, examples: Mapping[str, Tensor], kind: str, path: Path) -> None:
    """Raise ``InputError`` where a program of a ``kind`` (``torch``, ``onnx``) in a file answers otherwise than the module.

    ``examples`` are inputs by name, [rows, ...]: numbers are drawn anew, tokens stay as they are. ONNX is run where onnxruntime is
    installed.
    """
    asked = {name: _drawn(example, number) for number, (name, example) in enumerate(examples.items())}
    with torch.no_grad():
        wanted = _tensors(module(*asked.values()))
        found = _of_torch(asked, path) if kind == "torch" else _of_onnx(asked, path)
    if found is None:
        return
    if len(found) != len(wanted):
        raise InputError(f"the {kind} program gives {len(found)} outputs where the model gives {len(wanted)}")
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        apart = _apart(one, other)
        if not apart <= TOLERANCE:
            raise InputError(
                f"the {kind} program answers otherwise than the model: output {number} is off by {apart:.2g} of its largest entry"
            )


def _drawn(example: Tensor, number: int) -> Tensor:
    rows = example[:1].expand(ROWS, *example.shape[1:]).contiguous()
    if not example.is_floating_point():
        return rows
    return torch.randn(rows.shape, generator=torch.Generator().manual_seed(number)).to(example.dtype)


def _tensors(output: Any) -> list[Tensor]:
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else [output]
    )
    return [value for value in values if isinstance(value, Tensor)]


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference over the largest entry; infinite where shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    if one.numel() == 0:
        return 0.0
    scale = max(float(one.double().abs().max()), 1e-6)
    return float((one.double() - other.double()).abs().max()) / scale


def _of_torch(asked: Mapping[str, Tensor], path: Path) -> list[Tensor]:
    return _tensors(torch.export.load(path).module()(*asked.values()))


def _of_onnx(asked: Mapping[str, Tensor], path: Path) -> list[Tensor] | None:
    try:
        import onnxruntime as runtime
    except ImportError:
        warnings.warn("the ONNX file was not tried out: pip install 'kdrun[onnx]' brings onnxruntime", stacklevel=2)
        return None
    runtime.set_default_logger_severity(3)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = {one.name for one in session.get_inputs()}  # what the answer does not depend on is left out
    found = session.run(None, {name: value.numpy() for name, value in asked.items() if name in known})
    return [torch.from_numpy(value) for value in found]
