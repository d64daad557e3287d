"""Processes that train together.

The first one runs the experiment as if it were alone. For each train stage it tells the others which one; they read the same
inputs from the store, take the same steps, each on its share of the rows, and throw their copy of the result away. It
starts them itself on one machine; torchrun starts all of them on several, which then need one store.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from kdrun.errors import Diverged, InputError

__all__ = ["MEETING", "Group", "Line", "dismiss", "launched"]

IDLE = timedelta(days=365)
"""How long the others wait for the next train stage."""

MEETING = "KDRUN_MEETING"
"""The variable that tells a process, started by the first one, at which port of this machine the group meets."""


def launched() -> tuple[int, int] | None:
    """Rank and number of processes if torchrun or the like started this one, else None."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return None


class Line:
    """Membership in a group: transfers of tensors, by Gloo between processors and by NCCL between GPUs, and what the first says."""

    def __init__(self, rank: int, size: int, meeting: Any = None) -> None:
        import torch
        import torch.distributed as dist

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        given = {} if meeting is None else {"store": meeting}
        dist.init_process_group(backend, rank=rank, world_size=size, **given)
        self._channel: Any = dist.new_group(backend="gloo", timeout=IDLE)

    def say(self, words: Any) -> None:
        """Tell all others something that YAML can hold; for the first process."""
        import torch
        import torch.distributed as dist

        text = torch.frombuffer(bytearray(yaml.safe_dump(words, sort_keys=False).encode()), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(text)]), 0, group=self._channel)
        dist.broadcast(text, 0, group=self._channel)

    def hear(self) -> Any:
        """Wait for what the first process says next."""
        import torch
        import torch.distributed as dist

        length = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(length, 0, group=self._channel)
        text = torch.zeros(int(length), dtype=torch.uint8)
        dist.broadcast(text, 0, group=self._channel)
        return yaml.safe_load(bytes(text.tolist()))

    def leave(self) -> None:
        import torch.distributed as dist

        dist.destroy_process_group()


class Group:
    """The first process's hold on the others. Raises ``InputError`` if another number of processes was started."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = False
        self.helpers: list[subprocess.Popen[bytes]] = []
        given = launched()
        if given is not None and given[1] != size:
            raise InputError(
                f"{given[1]} processes were started, but this says {size}: set hardware.processes={given[1]}",
                key="hardware.processes",
            )
        self.line = Line(0, size) if given is not None else self._start(size)
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

    def _start(self, size: int) -> Line:
        import torch.distributed as dist

        meeting = dist.TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)
        source = str(Path(__file__).parents[2])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        for rank in range(1, size):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, MEETING: meeting.port}
            self.helpers.append(
                subprocess.Popen(
                    [sys.executable, "-c", "from kdrun.engine.worker import serve; serve()"],
                    env={**os.environ, "PYTHONPATH": path, **{k: str(v) for k, v in place.items()}},
                    stdin=subprocess.PIPE,
                )
            )
        line = Line(0, size, meeting)
        for helper in self.helpers:
            threading.Thread(target=_watch, args=(helper,), daemon=True).start()
        return line

    @contextlib.contextmanager
    def together(self, config: Mapping[str, Any], node: str) -> Iterator[None]:
        """The others run the train stage ``node`` of an experiment along with what this process does meanwhile."""
        self.line.say({"config": dict(config), "node": node})
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
        global _group
        if _group is not self:
            return
        _group = None
        if self.busy and not self.helpers:
            return
        if not self.helpers:
            self.line.say(None)
        for helper in self.helpers:
            assert helper.stdin is not None
            helper.stdin.close()
            helper.wait()
        self.line.leave()


_group: Group | None = None


def dismiss() -> None:
    """Send the other processes home, if there are any."""
    if _group is not None:
        _group.close()


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
