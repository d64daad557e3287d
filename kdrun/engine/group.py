"""Processes that train together.

The first one runs the experiment as if it were alone. For each train stage it tells the others which one; they read the same
inputs from the store, take the same steps, each on its share of the rows, and throw their copy of the result away. It
starts them itself on one machine; torchrun starts all of them on several, which then need one store.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from kdrun.errors import InputError

__all__ = ["Group", "launched", "serve"]

IDLE = timedelta(days=365)
"""How long the others wait for the next train stage."""


def launched() -> tuple[int, int] | None:
    """Rank and number of processes if torchrun or the like started this one, else None."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return None


class Group:
    """The first process's hold on the others. Raises ``InputError`` if another number of processes was started."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = False
        self.helpers: list[subprocess.Popen[bytes]] = []
        given = launched()
        if given is None:
            self._start(size)
        elif given[1] != size:
            raise InputError(f"{given[1]} processes were started, but hardware.processes is {size}", key="hardware")
        else:
            _join(rank=0, size=size)
        self.channel = _channel()
        atexit.register(self.close)

    @staticmethod
    def of(size: int) -> Group:
        """The group of this many processes, started if it is not there; one of another size is sent home."""
        global _group
        if _group is not None and _group.size != size:
            _group.close()
        if _group is None:
            _group = Group(size)
        return _group

    def _start(self, size: int) -> None:
        import torch.distributed as dist

        meeting = dist.TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)
        source = str(Path(__file__).parents[2])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        for rank in range(1, size):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "KDRUN_MEETING": meeting.port}
            self.helpers.append(
                subprocess.Popen(
                    [sys.executable, "-c", "from kdrun.engine.group import serve; serve()"],
                    env={**os.environ, "PYTHONPATH": path, **{k: str(v) for k, v in place.items()}},
                    stdin=subprocess.PIPE,
                )
            )
        _join(rank=0, size=size, meeting=meeting)
        for helper in self.helpers:
            threading.Thread(target=_watch, args=(helper,), daemon=True).start()

    @contextlib.contextmanager
    def together(self, config: Mapping[str, Any], node: str) -> Iterator[None]:
        """The others run the train stage ``node`` of an experiment along with what this process does meanwhile."""
        from kdrun.errors import Diverged

        _tell(self.channel, {"config": dict(config), "node": node})
        self.busy = True
        try:
            yield
        except Diverged:
            self.busy = False  # so it did for all
            raise
        except BaseException:
            if self.helpers:
                self.close()
            raise
        self.busy = False

    def close(self) -> None:
        """Send the others home; those that torchrun started and that are in the midst of something are left to it."""
        import torch.distributed as dist

        global _group
        if _group is not self:
            return
        _group = None
        if self.busy and not self.helpers:
            return
        if not self.helpers:
            _tell(self.channel, None)
        for helper in self.helpers:
            assert helper.stdin is not None
            helper.stdin.close()
            helper.wait()
        dist.destroy_process_group()


_group: Group | None = None


def serve() -> None:
    """What a process that is not the first one does: take part in train stages until told that all is done."""
    import torch.distributed as dist

    from kdrun.config.compose import Experiment
    from kdrun.config.resolvers import register
    from kdrun.engine.progress import QuietReporter
    from kdrun.engine.session import Session
    from kdrun.errors import Diverged

    rank, size = launched() or (0, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    meeting = None
    if "KDRUN_MEETING" in os.environ:
        threading.Thread(target=_end_with_the_first, daemon=True).start()
        meeting = dist.TCPStore("127.0.0.1", int(os.environ["KDRUN_MEETING"]), size, is_master=False)
    _join(rank=rank, size=size, meeting=meeting)
    channel = _channel()
    register()
    while (task := _told(channel)) is not None:
        session = Session(Experiment("", task["config"]), QuietReporter())
        with contextlib.suppress(Diverged):  # the first process says so
            session.executor.take_part(task["node"])
    dist.destroy_process_group()


def _join(*, rank: int, size: int, meeting: Any = None) -> None:
    """Enter the group: transfers between processors by Gloo, between GPUs by NCCL."""
    import torch
    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if meeting is None:
        dist.init_process_group(backend, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend, store=meeting, rank=rank, world_size=size)


def _channel() -> Any:
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=IDLE)


def _tell(channel: Any, task: Any) -> None:
    import torch
    import torch.distributed as dist

    text = torch.frombuffer(bytearray(yaml.safe_dump(task, sort_keys=False).encode()), dtype=torch.uint8)
    dist.broadcast(torch.tensor([len(text)]), 0, group=channel)
    dist.broadcast(text, 0, group=channel)


def _told(channel: Any) -> Any:
    import torch
    import torch.distributed as dist

    length = torch.zeros(1, dtype=torch.int64)
    dist.broadcast(length, 0, group=channel)
    text = torch.zeros(int(length), dtype=torch.uint8)
    dist.broadcast(text, 0, group=channel)
    return yaml.safe_load(bytes(text.tolist()))


def _watch(helper: subprocess.Popen[bytes]) -> None:
    """A process of the group that ends by itself takes all with it: the others would wait for it for ever."""
    code = helper.wait()
    if code != 0:
        print(
            f"kdrun: a process of the group ended (exit code {code}); the same command goes on where this stopped",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def _end_with_the_first() -> None:
    """One whose first process is gone must not go on alone: its standard input then ends."""
    sys.stdin.buffer.read()
    os._exit(0)
