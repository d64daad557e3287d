"""Starting weights from a file: ``weights: FILE``, or ``weights: {path: FILE, skip: [head], fit: partial}`` for what fits of it.

What others wrap around the weights of a model is taken off: the entry of a training state that holds them, and what a wrapper put
before each name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.errors import InputError, nearest
from kdrun.models.misfits import Misfits

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Weights", "check_weights", "load_weights"]

ENTRIES = ("state_dict", "model_state_dict", "model")
"""Entries of a training state that hold a model's weights."""

PREFIXES = ("module.", "_orig_mod.", "model.", "teacher.", "student.", "state_dict.", "model_state_dict.")
"""What a wrapper (data parallelism, compilation, a training module) puts before the names of weights."""

WORDS = ("path", "skip", "fit")
FITS = ("whole", "partial")


@dataclass(frozen=True)
class Weights:
    """A file of weights, the modules whose weights are not taken from it, and whether the others must fit as a ``whole``.

    With ``fit: partial`` those of the same name and shape are taken.
    """

    path: str
    skip: tuple[str, ...] = ()
    fit: str = "whole"

    @classmethod
    def of(cls, content: Any, *, key: str | None = None) -> Weights:
        """Read ``weights``. Raises ``InputError`` for what is neither a file's name nor a mapping of these words."""
        if isinstance(content, str):
            return cls(content)
        if not isinstance(content, Mapping) or not isinstance(content.get("path"), str):
            raise InputError(
                f"weights is a file, or {{path: FILE, skip: [MODULE], fit: partial}}; got {content!r}", key=key
            )
        for name in content:
            if name not in WORDS:
                raise InputError(f"weights takes {', '.join(WORDS)}, not '{name}'{nearest(name, WORDS)}", key=key)
        skip = content.get("skip") or []
        if not isinstance(skip, list) or not all(isinstance(name, str) for name in skip):
            raise InputError(f"skip is a list of names of modules, got {skip!r}", key=f"{key}.skip" if key else None)
        fit = content.get("fit", "whole")
        if fit not in FITS:
            hint = nearest(str(fit), FITS)
            raise InputError(f"fit is whole or partial, got {fit!r}{hint}", key=f"{key}.fit" if key else None)
        return cls(content["path"], tuple(skip), fit)

    @property
    def file(self) -> Path:
        """The file, with ``~`` for the home folder."""
        return Path(self.path).expanduser()


def load_weights(module: nn.Module, content: Any, *, key: str | None = None) -> list[str]:
    """Load a ``.safetensors`` file, or a ``.pt`` file of plain tensors, into ``module``; what was taken off or left out, in words.

    Raises ``InputError`` for a file that cannot be read, or does not fit where neither ``skip`` nor ``fit`` leaves it out. Other
    precisions become the model's.
    """
    weights = Weights.of(content, key=key)
    state, told = _fitted(module, weights, _read(weights, key, "cpu"), key)
    own = module.state_dict()
    kinds = {(_kind(value), _kind(own[name])) for name, value in state.items() if value.dtype != own[name].dtype}
    told += [f"its weights are {given}, taken as {wanted}" for given, wanted in sorted(kinds)]
    module.load_state_dict({**module.state_dict(), **state})
    return [f"checkpoint {weights.path}: {text}" for text in told]


def check_weights(module: nn.Module, content: Any, *, key: str | None = None) -> None:
    """Raise what ``load_weights`` would, from names and shapes alone; ``module`` may be on the meta device."""
    weights = Weights.of(content, key=key)
    _fitted(module, weights, _read(weights, key, "meta"), key)


def _read(weights: Weights, key: str | None, device: str) -> Any:
    """What the file holds; on the meta device without its values."""
    import torch

    try:
        if weights.path.endswith(".safetensors"):
            from safetensors import safe_open

            if device != "meta":
                from safetensors.torch import load_file

                return load_file(weights.file)
            with safe_open(weights.file, "pt") as opened:
                names = opened.keys()
                return {n: _hollow(opened.get_slice(n)) for n in names}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(weights.file, map_location=device, weights_only=True)
    except Exception as error:
        raise InputError(f"cannot read the checkpoint {weights.path}: {_reason(error)}", key=key) from None


def _reason(error: Exception) -> str:
    """What is wrong with a file, in one line, without torch's advice to trust it."""
    text = str(error)
    if "weights_only" in text.lower() or "weights only" in text.lower():
        return "it is no file of tensors alone (what else is pickled is not read): save its state_dict, or write safetensors"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def _fitted(module: nn.Module, weights: Weights, content: Any, key: str | None) -> tuple[dict[str, Tensor], list[str]]:
    """The weights that ``module`` takes, by its own names, and what was done to find them."""
    own = module.state_dict()
    told: list[str] = []
    state = _unwrapped(_inside(content, weights, told, key), own, told)
    left = set(_named(module, weights.skip, own, key))
    given = set(_named(module, weights.skip, state, None))
    if left:
        told.append(f"{len(left)} weights of {', '.join(weights.skip)} were left as they are drawn")
    wanted = {n: v for n, v in own.items() if n not in left}
    found = {n: v for n, v in state.items() if n not in given and n not in left}
    misfits = Misfits.of(wanted, found)
    if misfits is None:
        return found, told
    fitting = {n: v for n, v in found.items() if n in wanted and n not in misfits.other}
    if weights.fit == "whole" or not fitting:
        hint = misfits.advice(weights, own) if fitting else "; no weight of it fits"
        raise InputError(f"checkpoint {weights.path} is of another architecture: {misfits}{hint}", key=key)
    told.append(
        f"{len(fitting)} of the model's {len(own)} weights are taken, the others are left as they are drawn: {misfits}"
    )
    return fitting, told


def _hollow(entry: Any) -> Tensor:
    """A tensor on the meta device of the shape and kind of an entry of a safetensors file."""
    import torch

    whole = not entry.get_dtype().startswith(("F", "BF"))
    return torch.empty(entry.get_shape(), dtype=torch.int64 if whole else torch.float32, device="meta")


def _inside(content: Any, weights: Weights, told: list[str], key: str | None) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may be an entry of it."""
    from torch import Tensor

    while isinstance(content, Mapping) and not any(isinstance(v, Tensor) for v in content.values()):
        entry = next((name for name in ENTRIES if isinstance(content.get(name), Mapping)), None)
        if entry is None:
            break
        told.append(f"its weights are those under '{entry}'")
        content = content[entry]
    found = {str(n): v for n, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not found:
        raise InputError(f"the checkpoint {weights.path} holds no weights by their names", key=key)
    return found


def _unwrapped(state: dict[str, Tensor], own: Mapping[str, Tensor], told: list[str]) -> dict[str, Tensor]:
    """The weights without a prefix before their names, where more of them are then the model's own."""
    taken, best = "", state
    tried = [("", state)]
    for before, found in tried:  # wrappers may stand in one another
        if _known(found, own) > _known(best, own):
            taken, best = before, found
        tried += [(before + p, inner) for p in PREFIXES if len(before) < 64 and (inner := _without(found, p))]
    if taken:
        told.append(f"the names of its weights begin with '{taken}', which is taken off")
    return best


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _known(state: Iterable[str], own: Mapping[str, Tensor]) -> int:
    return sum(name in own for name in state)


def _named(module: nn.Module, skip: Iterable[str], state: Iterable[str], key: str | None) -> list[str]:
    """The weights inside the modules of these names; ``key``: complain there of a name that has none."""
    points: Mapping[str, str] = getattr(module, "tap_points", {})
    names = list(state)
    found: list[str] = []
    for given in skip:
        path = points.get(given, given).partition(":")[0]
        inside = [name for name in names if name == path or name.startswith(f"{path}.")]
        if not inside and key is not None:
            modules = [name for name, _ in module.named_modules() if name]
            raise InputError(f"skip names '{given}', which the model has not{nearest(given, modules)}", key=key)
        found += inside
    return found
