"""A trained model as one file for other programs: weights (safetensors), a program of torch's, or ONNX.

Each carries under ``kdrun`` the same JSON: the version of kdrun, the model's specification, and of its input the column, shape, dtype,
names of classes, mean, deviation, the side that images are brought to before the centre is cut out (``resize``), and the grey behind
transparent ones, as far as they are known. ``kdrun/models/exported.py`` opens them again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun import __version__
from kdrun.errors import InputError, refusal
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
    wanted and the input is not known, or a package is missing, or where the program answers otherwise than the model.
    """
    told = json.dumps({"kdrun": __version__, "model": dict(spec), **read}, sort_keys=True)
    if kind != "safetensors" and not read:
        raise InputError("nothing is known of what this model reads, which a program needs: use --format safetensors")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:  # a link at `path` is replaced
            written = _write(spec, state, read, kind, told, Path(folder) / path.name)
            for file in written:
                os.replace(file, path.with_name(file.name))
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        raise InputError(f"cannot write {path}: {refused.strerror or refused}") from None
    return [path.with_name(file.name) for file in written]


def _write(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any], kind: str, told: str, path: Path
) -> list[Path]:
    if kind == "safetensors":
        from safetensors.torch import save_file

        # One entry of metadata: several would be written in another order each time.
        save_file({k: v.contiguous().clone() for k, v in state.items()}, path, metadata={"kdrun": told})
        return [path]
    return _program(spec, state, read, told, path) if kind == "torch" else _onnx(spec, state, read, told, path)


def _traced(spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The module, examples of its inputs by name, and what is said of their first axis: any number of rows.

    A model of text reads texts of any length, and the mask beside them where the data have one.
    """
    import torch

    module, rows = restored(spec, state), {0: torch.export.Dim("batch", min=1)}
    example = torch.zeros((2, *read["shape"]), dtype=getattr(torch, read["dtype"]))
    if example.is_floating_point() or example.dim() != 2:
        return module, {read["column"]: example}, (rows,)
    text = _text_module(module, masked=read.get("mask") is not None)
    examples = {read["column"]: example}
    if text.word is not None:
        examples[read["mask"]] = torch.ones_like(example, dtype=torch.bool)
    return text, examples, tuple({**rows, 1: torch.export.Dim.AUTO} for _ in examples)


def _text_module(module: Any, *, masked: bool) -> Any:
    """A model of tokens, perhaps with their mask, as one that gives logits alone, without a memory for writing on."""
    import inspect

    from torch import nn

    from kdrun.models.masks import mask_word

    word = mask_word(module) if masked else None
    fixed = {"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {}

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.word = module, word

        def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
            output = self.inner(tokens, **({} if word is None else {word: mask}), **fixed)
            return getattr(output, "logits", output)

    return Text().eval()


def _program(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any], told: str, path: Path
) -> list[Path]:
    import torch

    from kdrun.models.export_check import check_program

    module, examples, shapes = _traced(spec, state, read)
    program = torch.export.export(module, tuple(examples.values()), dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={"kdrun.json": told})
    check_program(module, examples, "torch", path)
    return [path]


def _onnx(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], read: Mapping[str, Any], told: str, path: Path
) -> list[Path]:
    import torch

    from kdrun.models.export_check import check_program

    module, examples, shapes = _traced(spec, state, read)
    with torch.no_grad():
        outputs = _names(module(*examples.values()))
    try:
        # onnxscript below 0.7 prints what it rewrites, where the names of files are to stand.
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.filterwarnings("ignore", message="# The axis name")  # tokens and mask have theirs in common
            program: Any = torch.onnx.export(
                module,
                tuple(examples.values()),
                input_names=list(examples),
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
    check_program(module, examples, "onnx", path)
    return [path, path.with_name(f"{path.name}.data")] if apart else [path]


def _names(output: Any) -> list[str]:
    """Names for what a model gives: those of a mapping's entries, else ``logits``, or numbers for several."""
    if isinstance(output, Mapping):
        return [str(name) for name in output]
    if isinstance(output, tuple | list):
        return [f"output_{i}" for i in range(len(output))]
    return ["logits"]
