"""What Hydra and OmegaConf keep for the whole process: put aside while kdrun works with them, and back in place afterwards.

So a program may use Hydra and resolvers of its own beside kdrun, and one run meets nothing that another one left.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kdrun.config.arithmetic import FUNCTIONS

__all__ = ["is_hydra_13", "own_hydra", "own_resolvers", "whole_complaints"]

_LOCK = threading.RLock()
"""Two threads that compose take turns: what is put aside is that of the process."""

_HARMLESS = ("oc.select", "oc.dict.keys", "oc.dict.values", "oc.create", "oc.deprecated")
_HYDRAS = ("hydra", "now")
"""Resolvers that Hydra's own settings need. They name folders, users' settings and the time of day."""


def is_hydra_13() -> bool:
    """Whether this is Hydra before 1.4, which reads defaults lists and versions to be based on in another way."""
    from hydra import __version__

    return __version__.startswith("1.3.")


@contextlib.contextmanager
def own_resolvers(*, hydras: bool = False) -> Iterator[None]:
    """Inside, ``${...}`` knows the harmless resolvers of OmegaConf and these: add, mul, div, floordiv, min, max, if.

    ``oc.env``, ``oc.decode`` and whatever else is registered stay outside: a recipe from a stranger must not read the
    environment. ``hydras``: Hydra's own are there, too.
    """
    from omegaconf.basecontainer import BaseContainer

    with _LOCK:
        before = BaseContainer._resolvers
        kept = (*_HARMLESS, *(_HYDRAS if hydras else ()))
        BaseContainer._resolvers = {name: before[name] for name in kept if name in before}
        register = _register()
        for name, function in FUNCTIONS.items():
            register(name, function)
        try:
            yield
        finally:
            BaseContainer._resolvers = before


def _register() -> Callable[[str, Callable[..., Any]], None]:
    """What registers a resolver that gets typed arguments.

    OmegaConf 2.4 calls it ``register_resolver``, which up to 2.3 was the name of one that hands over text.
    """
    from omegaconf import OmegaConf

    named: Callable[[str, Callable[..., Any]], None] = OmegaConf.register_resolver
    return named if "use_cache" in inspect.signature(named).parameters else OmegaConf.register_new_resolver


@contextlib.contextmanager
def own_hydra() -> Iterator[None]:
    """Inside, Hydra is as if nobody had used it in this process."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.version import VersionBase, setbase

    kinds: tuple[type, ...] = (GlobalHydra, HydraConfig, VersionBase)
    with _LOCK:
        aside = {kind: Singleton._instances.pop(kind) for kind in kinds if kind in Singleton._instances}
        try:
            if is_hydra_13():
                setbase("1.3")  # the behaviour of later versions, which warn at any base that is set
            yield
        finally:
            for kind in kinds:
                Singleton._instances.pop(kind, None)
            Singleton._instances.update(aside)


@contextlib.contextmanager
def whole_complaints() -> Iterator[None]:
    """Inside, Hydra raises what it meets, and a reader that has seen enough of its output may close the pipe."""
    before, told = os.environ.get("HYDRA_FULL_ERROR"), logging.raiseExceptions
    os.environ["HYDRA_FULL_ERROR"], logging.raiseExceptions = "1", False
    try:
        yield
    finally:
        logging.raiseExceptions = told
        if before is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
