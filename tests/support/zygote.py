"""A process that has imported all of kdrun, and calls the command line in forks of itself: one a request, measured and watched.

Requests and answers are lines of JSON. A fork notes what it does beyond computing (files opened for writing, programs started, connections,
code of other files executed, classes looked up by pickles) in a file, from which the tests judge.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

__all__ = ["serve"]

HEADROOM = 3 * 2**30
"""Bytes that a fork may have beyond what it starts with: more ends in a MemoryError, not in a machine without memory."""

STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "webbrowser.open"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto"}
CHANGES = {
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
}


def serve() -> None:
    """Answer requests until the input ends."""
    import kdrun

    for module in pkgutil.walk_packages(kdrun.__path__, "kdrun."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    _warm()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answered(json.loads(line))), flush=True)


WARM = """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}, {override /student: mlp_tiny}]
graph:
  start: {stage: initialize, by: random_weights, from: [student, data.train]}
  test: {stage: evaluate, from: [start, data.test], metrics: [accuracy]}
"""


def _warm() -> None:
    """Import what is only imported when something runs. (Nothing is differentiated: a fork could not do so any more.)"""
    from kdrun.cli import main

    for name in ("torch._dynamo", "torch._inductor.config", "sklearn.datasets"):
        importlib.import_module(name)
    here = Path.cwd()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
        contextlib.suppress(SystemExit),
    ):
        os.chdir(folder)
        Path("warm.yaml").write_text(WARM)
        try:
            main(["run", "warm.yaml", "store=store"])
        finally:
            os.chdir(here)


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, call, wait; exit code (null where it was killed), seconds of a processor, MiB more than in the beginning."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, repr(_resident()).encode())
        _call(request)
    before = float(os.read(reader, 100))
    os.close(reader)
    os.close(writer)
    end, found, status, used = time.monotonic() + request["patience"], 0, 0, None
    while not found and time.monotonic() < end:
        found, status, used = os.wait4(child, os.WNOHANG)
        if not found:
            time.sleep(0.002)
    if not found:
        os.killpg(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    assert used is not None
    return {
        "code": os.waitstatus_to_exitcode(status) if found and os.WIFEXITED(status) else None,
        "seconds": used.ru_utime + used.ru_stime,
        "mib": used.ru_maxrss / 1024 - before,
    }


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _call(request: dict[str, Any]) -> None:
    """Be the child: the command line with its output in files, and a note of what it did."""
    os.setsid()
    signal.alarm(2 * request["patience"])  # should nobody be there to end it
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        os.dup2(os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    watch = Watch(request["world"])
    sys.addaudithook(watch.hook)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (request["seconds"], request["seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (used + HEADROOM, used + HEADROOM))
    code = 1
    try:
        from kdrun.cli import main
        from kdrun.runtime import spinner

        spinner.PATIENCE = 3600  # what is said depends on no clock
        main(request["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        watch.open = False
        Path(request["note"]).write_text(json.dumps(watch.seen))
        os._exit(code)


class Watch:
    """What an audit hook sees that a configuration has no business with."""

    def __init__(self, world: str) -> None:
        self.world = world
        self.seen: list[list[str]] = []
        self.open = True

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note the event, and stop connections."""
        if not self.open:
            return
        if event == "open":
            self._opened(*arguments)
        elif event == "exec":
            name = str(getattr(arguments[0], "co_filename", ""))
            if name.startswith(self.world):
                self.seen.append(["code", name])
        elif event in STARTS:
            self.seen.append(["program", repr(arguments[:2])])
        elif event in CHANGES:
            self._changed(event, arguments)
        elif event == "pickle.find_class":
            self.seen.append(["pickle", repr(arguments[1:])])
        elif event in CONNECTS:
            self.seen.append(["network", repr(arguments[-1])])
            raise OSError("the tests have no network")

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        full = os.path.realpath(os.fsdecode(path))
        writes = (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)) or any(
            c in str(mode or "r") for c in "wax+"
        )
        if full.startswith(os.path.join(self.world, "outside")):
            self.seen.append(["read", full])
        if (
            writes
            and not full.startswith((self.world, "/dev/", "/proc/"))
            and not full.endswith(".pyc")
            and ".pyc." not in full
        ):
            self.seen.append(["write", full])

    def _changed(self, event: str, arguments: tuple[Any, ...]) -> None:
        for path in arguments[:2]:
            if isinstance(path, (str, bytes, os.PathLike)):
                full = os.path.abspath(os.fsdecode(path))
                if not full.startswith(self.world) and "__pycache__" not in full:
                    self.seen.append([event, full])


if __name__ == "__main__":
    serve()
