"""Where worker processes come from: forks of a process that has read torch, or fresh ones where that is not safe."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.context import BaseContext

__all__ = ["in_environment", "worker_context"]

PRELOADED = "kdrun.engine.preloaded"


def worker_context() -> BaseContext:
    """A context whose processes begin with torch already imported, on Linux from Python 3.11 on; elsewhere they are spawned.

    The process that is forked starts now and imports beside this one; it is shared by all sweeps of this program. It finds modules where this
    program does and nowhere else: without Python's safe path (3.11) the working folder would go before them.
    """
    if sys.platform != "linux" or sys.version_info < (3, 11):
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    with _import_path_in_environment():
        forkserver.ensure_running()
    return context


def _import_path_in_environment() -> contextlib.AbstractContextManager[None]:
    """A Python started in the block looks for modules where this one does."""
    found = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return in_environment({"PYTHONPATH": found, "PYTHONSAFEPATH": "1"})


@contextlib.contextmanager
def in_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment have these values in the block, and those of before after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
