"""Tensors without values: data, models and a context for planning, with no data, no weights and no device."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from kdrun.data.dataset import Column, DataInfo, Dataset, MemoryDataset
from kdrun.limits import refuse_beyond
from kdrun.models.building import build, resolve
from kdrun.models.checkpoints import check_weights
from kdrun.runtime.artifacts import Model, Tensors
from kdrun.runtime.hardware import Hardware
from kdrun.runtime.known import UNKNOWN

__all__ = ["FakeContext", "counted", "described", "fake", "fake_module", "known", "on_fakes", "on_meta"]


@contextlib.contextmanager
def on_fakes() -> Iterator[None]:
    """Compute shapes alone; torch's warning that a copy of a tensor without memory has none either is left out."""
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield


def on_meta(spec: Mapping[str, Any], *, role: str = "model") -> nn.Module:
    """Build a module on the meta device, outside any fake mode: constructors read values.

    Raises ``InputError`` if the file that its weights are to come from does not fit.
    """
    with unset_fake_temporarily():
        with torch.device("meta"):
            module = build(spec)
        if spec.get("weights"):
            check_weights(module, spec["weights"], key=f"{role}.weights")
    return module


def fake_module(spec: Mapping[str, Any], *, role: str = "model") -> nn.Module:
    """A module whose weights are fake tensors on the CPU, in training mode; to be called inside a fake mode.

    Weights that are tied stay tied.
    """
    module = on_meta(spec, role=role)
    made: dict[int, Any] = {}

    def faked(value: Tensor) -> Tensor:
        if id(value) not in made:
            empty = torch.empty(value.shape, dtype=value.dtype)
            made[id(value)] = nn.Parameter(empty, value.requires_grad) if isinstance(value, nn.Parameter) else empty
        return made[id(value)]

    for inner in module.modules():
        kept: list[dict[str, Any]] = [inner._parameters, inner._buffers]
        for own in kept:
            own.update({name: faked(value) for name, value in own.items() if value is not None})
    return module


def fake(value: Any, sizes: Mapping[str, int]) -> Any:
    """The stand-in of what is known of a value: fake tensors, modules in eval mode, data sets of fake rows."""
    if isinstance(value, list):
        return [fake(v, sizes) for v in value]
    if isinstance(value, Model):
        return fake_module(resolve(value.spec, sizes)).eval()
    if isinstance(value, DataInfo):
        rows = value.size or 8
        return MemoryDataset({n: torch.empty((rows, *c.shape), dtype=c.dtype) for n, c in value.columns.items()}, value)
    if isinstance(value, Column):
        return torch.empty(value.shape, dtype=value.dtype)
    if isinstance(value, Mapping):
        return {k: fake(v, sizes) for k, v in value.items()}
    return value


def known(returned: Any) -> Any:
    """What is known of a fake result, free of the fake mode."""
    if isinstance(returned, Tensor):
        refuse_beyond("parameters", returned.numel(), "numbers in a tensor")
        return Column(tuple(returned.shape), returned.dtype)
    if isinstance(returned, nn.Module):
        spec: Any = getattr(returned, "kdrun_spec", None)
        return Model(dict(spec), None) if spec is not None else UNKNOWN
    if isinstance(returned, Model):
        return Model(returned.spec, None)
    if isinstance(returned, Tensors):
        return known(returned.values[""] if set(returned.values) == {""} else returned.values)
    if isinstance(returned, Dataset):
        return counted(returned.info)
    if isinstance(returned, Mapping):
        return {k: known(v) for k, v in returned.items()}
    if isinstance(returned, list):
        return [known(v) for v in returned]
    return UNKNOWN


def counted(info: DataInfo) -> DataInfo:
    """What is said of a data set, once its rows and what is in one are counted. Raises ``InputError``."""
    refuse_beyond("rows", info.size or 0, "rows of a data set")
    for name, column in info.columns.items():
        refuse_beyond("row_values", math.prod(column.shape), f"numbers in a row's '{name}'")
    return info


def described(value: Any) -> Any:
    """A tensor's shape and dtype, all axes included, or a nested mapping of them; what is described already stays."""
    if isinstance(value, Tensor):
        return Column(tuple(value.shape), value.dtype)
    return {k: described(v) for k, v in value.items()} if isinstance(value, Mapping) else value


class FakeContext:
    """Stands for a stage's context while it runs on fake tensors. ``sizes``: what ``auto`` means in its models."""

    def __init__(self, name: str, key: str, sizes: Mapping[str, int]) -> None:
        self.name, self.key, self.config_key, self.sizes = name, "", key, sizes
        self.hardware = Hardware.__new__(Hardware)
        self.hardware.settings, self.hardware.precision, self.hardware.workers = {}, "fp32", 0
        self.device = self.hardware.device = torch.device("cpu")

    def generator(self, *labels: object) -> torch.Generator:
        return torch.Generator()

    def module(self, model: Model, *, role: str = "model") -> nn.Module:
        return fake_module(resolve(model.spec, self.sizes), role=role).eval()
