"""From a model's specification to a module: sizes found, weights drawn or loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kdrun.errors import InputError
from kdrun.limits import Limits
from kdrun.randomness import seeded
from kdrun.registry import catalog

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdrun.data.dataset import DataInfo

__all__ = [
    "build",
    "is_resolved",
    "load_state",
    "resolve",
    "restored",
    "sizes_from_data",
    "uses_batch_statistics",
]

INPUT_COLUMNS = ("image", "input", "features", "tokens", "series", "points")
"""Columns that a model reads, the first that a data set has."""


def sizes_from_data(info: DataInfo) -> dict[str, int]:
    """What ``auto`` stands for in a model that reads this data: classes, channels, sizes."""
    sizes: dict[str, int] = {k: v for k, v in info.extra.items() if isinstance(v, int)}
    if info.classes is not None:
        sizes["num_classes"] = info.classes
    column = next((info.columns[name] for name in INPUT_COLUMNS if name in info.columns), None)
    if column is not None and column.shape:
        count = 1
        for length in column.shape:
            count *= length
        sizes.update({"in_channels": column.shape[0], "in_features": count, "image_size": column.shape[-1]})
    return sizes


def resolve(spec: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Complete a specification by its part's defaults and replace ``auto`` where ``sizes`` knows the value."""
    part = catalog().get("model", spec["model"])
    own = part.with_defaults({k: v for k, v in spec.items() if k not in ("model", "weights")})
    resolved = {k: sizes.get(k, v) if v == "auto" else v for k, v in own.items()}
    return {"model": spec["model"], **resolved, **({"weights": spec["weights"]} if spec.get("weights") else {})}


def is_resolved(spec: Mapping[str, Any]) -> bool:
    """Whether no size is left to find."""
    return "auto" not in spec.values()


def build(spec: Mapping[str, Any], *, seed: tuple[object, ...] | None = None) -> nn.Module:
    """Build a module from a resolved specification; ``seed`` is a run's seed and labels for its first weights.

    Raises ``InputError`` if a size could not be found or the part refuses its parameters.
    """
    unknown = [k for k, v in spec.items() if v == "auto"]
    if unknown:
        raise InputError(
            f"the size '{unknown[0]}' of model '{spec['model']}' cannot be found from the data: give a number"
        )
    part = catalog().get("model", spec["model"])
    factory = part.load()
    params = {k: v for k, v in spec.items() if k not in ("model", "weights")}
    try:
        with _counted(), seeded(int(str(seed[0])), *seed[1:]) if seed is not None else contextlib.nullcontext():
            module = factory(**params)
    except ImportError as error:
        raise part.lacking(error) from error
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"model '{spec['model']}' refuses its parameters: {error}") from error
    module.kdrun_spec = dict(spec)
    return module


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Inside, the weights of modules are counted as they are made. Raises ``InputError`` where they are more than the limits."""
    from torch.nn.modules.module import register_module_parameter_registration_hook
    from torch.nn.parameter import UninitializedParameter

    limits, counts = Limits(), [0, 0]

    def made(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        if parameter is None or isinstance(parameter, UninitializedParameter):
            return
        counts[0] += 1
        counts[1] += parameter.numel()
        limits.refuse_beyond("tensors", counts[0], "tensors in the weights of a model")
        limits.refuse_beyond("parameters", counts[1], "parameters of a model")

    handle = register_module_parameter_registration_hook(made)
    try:
        yield
    finally:
        handle.remove()


def load_state(module: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load weights strictly. Raises ``InputError`` naming the first difference in architecture."""
    own = module.state_dict()
    missing = [k for k in own if k not in state]
    surplus = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    if shapes:
        name = shapes[0]
        raise InputError(
            f"{source} is of another architecture: {name} is {list(state[name].shape)}, expected {list(own[name].shape)}"
        )
    if missing or surplus:
        example = f"it lacks {missing[0]}" if missing else f"it has {surplus[0]}, which the model has not"
        raise InputError(
            f"{source} is of another architecture: {example} ({len(missing)} missing, {len(surplus)} surplus)"
        )
    module.load_state_dict(state)


def restored(spec: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> nn.Module:
    """A stored model as a module on the CPU, in eval mode, with its weights. torch's global random streams stay as they are.

    Raises ``InputError`` for one without weights: a model as it is configured, before any stage has trained it.
    """
    if state is None:
        raise InputError(f"model '{spec['model']}' was not trained: name the stage that trains it")
    module = build(spec, seed=(0, "restored"))
    load_state(module, state, source=f"the stored model '{spec['model']}'")
    return module.eval()


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a batch normalisation is somewhere inside."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(inner, _BatchNorm) for inner in module.modules())
