"""What ``export`` wrote, opened again: what it says of itself, and a function from input to logits.

Weights (safetensors) are built anew by the registered model that they name, ONNX is run by onnxruntime. A program of torch's is
unpickled when it is loaded, so it may do all that code may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdrun.config.reads import reads
from kdrun.errors import InputError, nearest, steers_a_terminal
from kdrun.models.building import restored
from kdrun.models.export import EXTENSIONS
from kdrun.registry import catalog

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["About", "Classifier", "classifier_of", "opened"]

Classifier = Callable[["Tensor"], "Tensor"]
"""From a batch of input to logits."""

Length = Annotated[int, Field(ge=1, le=16384)]


class About(BaseModel):
    """What an export, or the record of a run, says of a model and of what it reads. Numbers are finite, lengths are bounded."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    kdrun: str | None = None
    model: dict[str, Any] = {}
    column: str
    shape: list[Length]
    dtype: str
    mask: str | None = None
    answers: Literal["classes", "labels", "values"] = "classes"
    classes: list[str] | None = None
    target_mean: list[float] | None = None
    target_std: list[float] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    resize: Length | None = None
    background: Annotated[float, Field(ge=0, le=1)] = 1.0

    @classmethod
    def of(cls, content: Any, *, where: str) -> About:
        """Read what is said in a file. Raises ``InputError`` naming the first thing that is missing or of another kind."""
        if not isinstance(content, Mapping) or "column" not in content:
            raise InputError(f"{where} does not say what its model reads, so no file can be prepared for it")
        try:
            found = cls.model_validate(dict(content))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"{where} says something odd of itself: {place}: {first['msg']}") from None
        if any(steers_a_terminal(name) for name in found.classes or ()):
            raise InputError(f"{where} has a class whose name steers a terminal")
        return found


def classifier_of(module: torch.nn.Module, device: torch.device) -> Classifier:
    """A module as a function of a batch [rows, ...] on any device to its logits on the CPU, float32."""
    import torch

    module.to(device)

    def answer(batch: Tensor) -> Tensor:
        with torch.no_grad():
            return logits_of(module(batch.to(device))).float().cpu()

    return answer


def logits_of(output: Any) -> Tensor:
    """A model's ``logits``: what it gives, or the entry of that name. Raises ``InputError`` if there is none."""
    from torch import Tensor

    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(found, Tensor):
        raise InputError("the model gives no logits")
    return found


def opened(path: Path, device: torch.device, *, trusted: bool = False) -> tuple[About, Classifier]:
    """Open an exported file by the ending of its name.

    Raises ``InputError`` for one that is broken, says nothing of itself, or is a program that is not ``trusted``.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}, nor the folder of a run: expected what `kdrun export` wrote")
    readers = {"safetensors": _weights, "pt2": _program, "onnx": _onnx}
    kind = path.suffix.removeprefix(".")
    if kind not in readers:
        known = ", ".join(f".{ending}" for ending in EXTENSIONS.values())
        raise InputError(f"{path} is no exported model: names of those end in {known}{nearest(kind, readers)}")
    if kind == "pt2" and not trusted:
        raise InputError(
            f"{path} is a program, and loading it may do all that code may: add --trust if you trust where it comes from, or "
            "use safetensors or ONNX"
        )
    try:
        told, classifier = readers[kind](path, device)
    except (InputError, ImportError):
        raise
    except Exception as error:
        raise InputError(f"cannot read {path}: {str(error).strip().splitlines()[0]}") from None
    return About.of(told, where=str(path)), classifier


def _told(text: str | None) -> Any:
    return json.loads(text) if text else None


def _weights(path: Path, device: torch.device) -> tuple[Any, Classifier]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, "pt") as file:
        told = _told((file.metadata() or {}).get("kdrun"))
    spec = About.of(told, where=str(path)).model
    name = spec.get("model")
    if not isinstance(name, str):
        raise InputError(f"{path} does not say which model its weights are of")
    part = catalog().get("model", name)
    part.validate({k: v for k, v in spec.items() if k not in ("model", "weights")}, key=f"{path}: {name}")
    for read in reads(spec):
        if not read.lies_open():
            raise InputError(
                f"the model in {path} would read '{read.text}', outside of the working folder: it is refused"
            )
    return told, classifier_of(restored(spec, load_file(path)), device)


def _program(path: Path, device: torch.device) -> tuple[Any, Classifier]:
    import torch

    extra = {"kdrun.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    return _told(extra["kdrun.json"]), classifier_of(module, device)


def _onnx(path: Path, device: torch.device) -> tuple[Any, Classifier]:
    import torch

    try:
        import onnxruntime as runtime
    except ImportError as error:
        raise InputError(f"reading ONNX needs an extra: pip install 'kdrun[onnx]' ({error})") from None
    runtime.set_default_logger_severity(3)
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    there = runtime.get_available_providers()
    session = runtime.InferenceSession(path, providers=[p for p in [*wanted, "CPUExecutionProvider"] if p in there])
    read, *_ = [one.name for one in session.get_inputs()]
    names = [one.name for one in session.get_outputs()]

    def answer(batch: Tensor) -> Tensor:
        found = session.run(names, {read: batch.numpy()})
        return logits_of({n: torch.from_numpy(v) for n, v in zip(names, found, strict=True)})

    return _told(session.get_modelmeta().custom_metadata_map.get("kdrun")), answer
