"""kdrun: declarative, config-driven experiments in knowledge transfer.

``compose``, ``run``, ``reproduce``, ``predict`` and ``evaluate`` do from Python what the commands do; see ``kdrun.api``. ``ops``, ``metrics``, ``optim``,
``models``, ``data`` and ``parts`` (of stages) hold what is registered by name. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; importing typing would be most of the time that this module takes
if TYPE_CHECKING:
    from kdrun import data, metrics, models, ops, optim, parts
    from kdrun.api import compose, evaluate, predict, reproduce, run

__all__ = [
    "__version__",
    "compose",
    "data",
    "evaluate",
    "metrics",
    "models",
    "ops",
    "optim",
    "parts",
    "predict",
    "reproduce",
    "run",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    import importlib

    if name in ("data", "metrics", "models", "ops", "optim", "parts"):
        return importlib.import_module(f"kdrun.{name}")
    if name in __all__:
        return getattr(importlib.import_module("kdrun.api"), name)
    raise AttributeError(f"module 'kdrun' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
