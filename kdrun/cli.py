"""The ``kdrun`` command: finds the sub-command, calls it, turns errors into one line and an exit code.

Exit codes: 0 success, 1 a run failed, 2 bad input, 3 claims contradicted (with ``--strict``), 130 interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from kdrun import __version__
from kdrun.commands.table import COMMANDS
from kdrun.errors import KdrunError, nearest, printable

__all__ = ["main"]

USAGE = """usage: kdrun COMMAND [RECIPE] [key=value ...] [flags]

Declarative experiments in knowledge transfer. A recipe names teacher, student, data and method;
overrides change anything: kdrun run kd student=cnn_tiny optimizer.lr=0.05 transfer.temperature=2

commands:
{commands}

kdrun COMMAND --help tells more.  kdrun list papers is a good start."""


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
    if command in ("-sc", "--shell-completion"):
        from kdrun.commands import completion

        return completion.main(arguments)
    if command not in COMMANDS:
        print(
            f"kdrun: there is no command '{printable(command)}'{nearest(command, COMMANDS)}; see kdrun --help",
            file=sys.stderr,
        )
        return 2
    if command in ("run", "reproduce") and int(os.environ.get("RANK", 0)) > 0:
        from kdrun.engine.worker import serve

        serve()
        return 0
    module = importlib.import_module(f"kdrun.commands.{command}_")
    try:
        with _no_interrupt_lost():
            return int(module.main(arguments) or 0)
    except KdrunError as error:
        print(f"kdrun: {printable(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"\nkdrun: interrupted; the same command goes on where this stopped: {_again(command, arguments)}",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextlib.contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Python drops a Ctrl-C that comes while it tidies up an object; within the block it is raised a moment later."""
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _again(command: str, arguments: Sequence[str]) -> str:
    return " ".join(["kdrun", command, *arguments])
