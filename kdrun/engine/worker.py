"""What a process that is not the first of its group does: it takes part in train stages until told that all is done."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

from kdrun.config.experiment import Experiment
from kdrun.engine.session import Session
from kdrun.engine.sources import Sources
from kdrun.errors import Diverged
from kdrun.runtime.processes import MEETING, Line, launched
from kdrun.runtime.progress import QuietReporter

__all__ = ["serve"]


def serve() -> None:
    """Run the train stages that the first process names, on this process's share of the rows. Raises what went wrong there."""
    import torch.distributed as dist

    rank, size = launched() or (0, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    meeting = None
    if MEETING in os.environ:
        threading.Thread(target=_end_with_the_first, daemon=True).start()
        meeting = dist.TCPStore("127.0.0.1", int(os.environ[MEETING]), size, is_master=False)
    line = Line(rank, size, meeting)
    sources = Sources()
    while (task := line.hear()) is not None:
        session = Session(Experiment("", task["config"]), QuietReporter(), sources=sources)
        with contextlib.suppress(Diverged):  # the first process says so
            session.executor.take_part(task["node"])
    line.leave()


def _end_with_the_first() -> None:
    """One whose first process is gone must not go on alone: its standard input then ends."""
    sys.stdin.buffer.read()
    os._exit(0)
