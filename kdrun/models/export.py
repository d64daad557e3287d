"""A trained model as one file for other programs: weights (safetensors), a program of torch's, or ONNX.

Each carries under ``kdrun`` the same JSON: the model's specification, and of its input the column, shape, dtype, names of classes, mean
and deviation, as far as they are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.errors import InputError
from kdrun.models.building import restored

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EXTENSIONS", "export"]

EXTENSIONS = {"safetensors": "safetensors", "torch": "pt2", "onnx": "onnx"}
"""Formats, and how the names of their files end."""

LARGEST_MESSAGE = 2**31 - 2**20
"""Bytes of weights that fit into one ONNX file, which is a single message of Protocol Buffers."""


def export(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any], kind: str, path: Path
) -> list[Path]:
    """Write a model; return the files that were written, ``path`` first.

    ``read`` is what is known of the model's input (``column``, ``shape``, ``dtype``, …). Raises ``InputError`` where a program is
    wanted and the input is not known, or a package is missing.
    """
    told = json.dumps({"model": dict(spec), **read}, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "safetensors":
        from safetensors.torch import save_file

        # One entry of metadata: several would be written in another order each time.
        save_file({k: v.contiguous().clone() for k, v in state.items()}, path, metadata={"kdrun": told})
        return [path]
    if not read:
        raise InputError("nothing is known of what this model reads, which a program needs: use --format safetensors")
    return _program(spec, state, read, told, path) if kind == "torch" else _onnx(spec, state, read, told, path)


def _traced(spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The module, an example of its input, and what is said of its first axis: any number of rows."""
    import torch

    example = torch.zeros((2, *read["shape"]), dtype=getattr(torch, read["dtype"]))
    return restored(spec, state), example, ({0: torch.export.Dim("batch", min=1)},)


def _program(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any], told: str, path: Path
) -> list[Path]:
    import torch

    module, example, shapes = _traced(spec, state, read)
    program = torch.export.export(module, (example,), dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={"kdrun.json": told})
    return [path]


def _onnx(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any], told: str, path: Path
) -> list[Path]:
    import torch

    module, example, shapes = _traced(spec, state, read)
    with torch.no_grad():
        outputs = _names(module(example))
    try:
        program: Any = torch.onnx.export(
            module,
            (example,),
            input_names=[read["column"]],
            output_names=outputs,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
        )
    except ImportError as error:
        raise InputError(f"ONNX export needs an extra: pip install 'kdrun[onnx]' ({error})") from None
    apart = sum(value.nbytes for value in state.values()) > LARGEST_MESSAGE
    properties = {"kdrun": told, **{k: json.dumps(v) for k, v in read.items() if k in ("classes", "mean", "std")}}
    program.model.metadata_props.update(properties)
    program.save(str(path), external_data=apart)
    return [path, path.with_name(f"{path.name}.data")] if apart else [path]


def _names(output: Any) -> list[str]:
    """Names for what a model gives: those of a mapping's entries, else ``logits``, or numbers for several."""
    if isinstance(output, Mapping):
        return [str(name) for name in output]
    if isinstance(output, tuple | list):
        return [f"output_{i}" for i in range(len(output))]
    return ["logits"]
