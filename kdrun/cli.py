"""The ``kdrun`` command: finds the sub-command, calls it, turns errors into one line and an exit code.

Exit codes: 0 success, 1 a run failed, 2 bad input, 3 claims contradicted (with ``--strict``), 130 interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from kdrun import __version__
from kdrun.commands.table import COMMANDS
from kdrun.errors import KdrunError, nearest, printable
from kdrun.runtime import spinner

__all__ = ["main", "no_interrupt_lost"]

USAGE = """usage: kdrun COMMAND [RECIPE] [key=value ...] [flags]

Declarative experiments in knowledge transfer. A recipe names teacher, student, data and method;
overrides change anything: kdrun run kd student=cnn_tiny optimizer.lr=0.05 transfer.temperature=2

commands:
{commands}

kdrun COMMAND --help tells more.  kdrun list papers is a good start."""

SILENT = (
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--help",
    "-h",
    "--hydra-help",
    "--version",
    "--shell-completion",
    "-sc",
    "--quiet",
)
"""Flags with which a run prints something else, or nothing, so that nothing turns before."""


def usage() -> str:
    """The help text, without importing anything heavy."""
    return USAGE.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items()))


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits the process."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"kdrun {__version__}")
        sys.exit(0)
    sys.exit(_dispatch(arguments[0], arguments[1:]))


def _dispatch(command: str, arguments: list[str]) -> int:
    completes = command in ("-sc", "--shell-completion")
    if not completes and command not in COMMANDS:
        print(
            f"kdrun: there is no command '{printable(command)}'{nearest(command, COMMANDS)}; see kdrun --help",
            file=sys.stderr,
        )
        return 2
    if command in ("run", "reproduce") and int(os.environ.get("RANK", 0)) > 0:
        from kdrun.engine.worker import serve

        serve()
        return 0
    if command in ("run", "reproduce") and not any(a.startswith(SILENT) for a in arguments):
        spinner.begin(f"kdrun {command} {printable(' '.join(arguments[:1]), line=True)}")
    try:
        with no_interrupt_lost():
            module = importlib.import_module(f"kdrun.commands.{'completion' if completes else command + '_'}")
            return int(module.main(arguments) or 0)
    except KdrunError as error:
        spinner.end()
        from kdrun.commands.failure import in_a_line

        print(f"kdrun: {in_a_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        spinner.end()
        print(
            f"\nkdrun: interrupted; the same command goes on where this stopped: {printable(_again(command, arguments), line=True)}",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        spinner.end()
        from kdrun.commands.failure import unexpected

        return unexpected(error)
    finally:
        spinner.end()


@contextlib.contextmanager
def no_interrupt_lost() -> Iterator[None]:
    """Within the block a Ctrl-C that comes at a bad moment is raised a moment later.

    One that comes while Python tidies up an object would be dropped; one in what torch's dispatcher calls back would abort the process.
    """
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            _interrupt_soon()
        else:
            before(dropped)

    def interrupted(number: int, frame: FrameType | None) -> None:
        if _is_bad_moment(frame):
            _interrupt_soon()
        else:
            signal.default_int_handler(number, frame)

    own = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is (
        signal.default_int_handler
    )
    sys.unraisablehook = hook
    if own:
        signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        sys.unraisablehook = before
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)


_putting_off: list[None] = []
"""An entry for each interrupt that is being put off: until that is done, the next one would come too early."""


def _interrupt_soon() -> None:
    _putting_off.append(None)
    try:
        _thread.start_new_thread(_interrupt_later, ())
    finally:
        _putting_off.pop()


def _interrupt_later() -> None:
    time.sleep(0.01)
    while _putting_off:
        time.sleep(0.01)
    _thread.interrupt_main()


def _is_bad_moment(frame: FrameType | None) -> bool:
    """Whether a frame is inside of what lets no exception through.

    That is a function which torch's dispatcher, written in C++, calls back, and the hook above, which another Ctrl-C has called.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_filename == __file__ and code.co_name in ("hook", "interrupted"):
            return True
        if re.search(r"[\\/]torch[\\/](_library|_subclasses|_ops\.py)", code.co_filename):
            return True
        frame = frame.f_back
    return False


def _again(command: str, arguments: Sequence[str]) -> str:
    return " ".join(["kdrun", command, *arguments])
