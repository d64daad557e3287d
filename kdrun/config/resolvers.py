"""The fixed list of ``${...}`` resolvers: arithmetic and choice, nothing that reads the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["harmless", "register"]

_HYDRA = ("hydra", "now")
_KEPT = (*_HYDRA, "oc.select", "oc.dict.keys", "oc.dict.values", "oc.create", "oc.deprecated")


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _product(*values: float) -> float:
    result: float = 1
    for value in values:
        result *= value
    return result


def register() -> None:
    """Leave OmegaConf with the harmless resolvers of its own and these: add, mul, div, floordiv, min, max, if.

    ``oc.env`` and ``oc.decode`` go: a recipe from a stranger must not read the environment. Hydra learns of folders of recipes.
    """
    from omegaconf import OmegaConf
    from omegaconf.basecontainer import BaseContainer

    from kdrun.config.sources import RecipesSource

    RecipesSource.register()
    registered = BaseContainer._resolvers
    for name in [name for name in registered if name not in _KEPT]:
        OmegaConf.clear_resolver(name)
    arithmetic: dict[str, Callable[..., Any]] = {
        "add": lambda *values: sum(values),
        "mul": _product,
        "div": lambda a, b: a / b,
        "floordiv": lambda a, b: a // b,
        "min": lambda *values: min(values),
        "max": lambda *values: max(values),
        "if": _choose,
    }
    for name, function in arithmetic.items():
        OmegaConf.register_new_resolver(name, function, replace=True)


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Resolve without Hydra's own resolvers, which name folders, users' settings and the time of day."""
    from omegaconf.basecontainer import BaseContainer

    registered = BaseContainer._resolvers
    aside = {name: registered.pop(name) for name in _HYDRA if name in registered}
    try:
        yield
    finally:
        registered.update(aside)
