"""What a model answered, by what it was asked: files that the processes of a machine read and add to, and that may vanish at any time.

Each process appends to a file of its own. An entry is a header (the key, a checksum, two lengths), a description of the tensor and
its bytes. What cannot be read, or was not written to its end, is not there: who asked computes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdrun.runtime.files import ensure_folder

__all__ = ["Answers", "Shelf", "is_dense", "memory_order"]

MAGIC = b"kda1"
HEADER = struct.Struct(">4s16s16sIQ")
LARGEST = 2**31
ALIGNED = 64
"""Bytes: values begin at a multiple of it, counted from what is read."""

LOOK_EVERY = 0.2
"""Seconds between looks at what other processes have added."""

IN_USE = 3600.0
"""Seconds after which a folder that nobody wrote or read may go to make room."""


@dataclass
class Shelf:
    """Where the answers of a store lie, and how many bytes they may take in all. ``batches``: of how many this run will ask."""

    root: Path
    limit: float
    batches: int = 0

    def of(self, identity: str) -> Answers:
        """The answers of the function of that identity; those of others go where room is needed that nobody has used for an hour."""
        folder = ensure_folder(self.root / "answers" / identity, self.root)
        os.utime(folder)
        taken = _make_room(self.root / "answers", folder, self.limit)
        return Answers(folder, self.limit - taken)


class Answers:
    """Tensors by keys of 16 bytes. ``room``: how many bytes this process may add.

    A tensor is given back bit by bit, with the strides that it had; it is to be dense (``is_dense``) and on the CPU.
    """

    def __init__(self, folder: Path, room: float) -> None:
        self.folder, self.room = folder, room
        self.own = folder / f"{uuid.uuid4().hex}.answers"
        self._files: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._places: dict[bytes, tuple[int, int]] = {}
        self._looked = float("-inf")
        self._out: int | None = None

    def get(self, key: bytes) -> Tensor | None:
        """What was put at the key, by whatever process; None if it is not there."""
        if key not in self._places and time.monotonic() - self._looked > LOOK_EVERY:
            self._look()
        place = self._places.get(key)
        if place is None:
            return None
        try:
            return _entry(*place, key)
        except (OSError, ValueError, KeyError, TypeError, struct.error, RuntimeError):
            del self._places[key]
            return None

    def put(self, key: bytes, value: Tensor) -> bool:
        """Add an entry; False once there is no more room, or the disk takes no more."""
        if self.room <= 0 or key in self._places:
            return self.room > 0
        entry = _packed(key, value)
        try:
            if self._out is None:
                self._out = os.open(self.own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            written = os.write(self._out, entry)
        except OSError:
            written = -1
        self.room = self.room - len(entry) if written == len(entry) else 0
        return self.room > 0

    def _look(self) -> None:
        """Find what was added since the last look."""
        self._looked = time.monotonic()
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.folder)):
                if name.endswith(".answers"):
                    self._look_into(name)

    def _look_into(self, name: str) -> None:
        if name not in self._files:
            self._files[name] = os.open(self.folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        file, at = self._files[name], self._read.get(name, 0)
        size = os.fstat(file).st_size
        while at + HEADER.size <= size:
            magic, key, _, described, length = HEADER.unpack(os.pread(file, HEADER.size, at))
            end = at + HEADER.size + described + length
            if magic != MAGIC or described + length > LARGEST or end > size:
                break
            self._places.setdefault(key, (file, at))
            at = end
        self._read[name] = at

    def close(self) -> None:
        """Let the files go."""
        for file in [*self._files.values(), *([] if self._out is None else [self._out])]:
            with contextlib.suppress(OSError):
                os.close(file)
        self._files, self._places, self._out = {}, {}, None

    def __del__(self) -> None:
        self.close()


def memory_order(value: Tensor) -> list[int]:
    """The dimensions by their strides, greatest first: in that order the values follow one another in memory."""
    return sorted(range(value.dim()), key=lambda d: (-value.stride()[d], d))


def is_dense(value: Tensor) -> bool:
    """Whether the values lie in memory without gaps or overlaps, in some order of the dimensions."""
    return value.permute(memory_order(value)).is_contiguous()


def _packed(key: bytes, value: Tensor) -> bytes:
    order = memory_order(value)
    told = {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "order": order}
    flat = value.detach().permute(order).contiguous().reshape(-1)
    described = json.dumps(told).encode()
    described += b" " * (-len(described) % ALIGNED)
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return HEADER.pack(MAGIC, key, _checksum(described, data), len(described), len(data)) + described + data


def _entry(file: int, at: int, key: bytes) -> Tensor:
    """The tensor of an entry. Raises ``ValueError`` and others for one that is damaged."""
    magic, found, checksum, described, length = HEADER.unpack(os.pread(file, HEADER.size, at))
    raw = bytearray(os.pread(file, described + length, at + HEADER.size))
    if (magic, found) != (MAGIC, key) or _checksum(raw[:described], memoryview(raw)[described:]) != checksum:
        raise ValueError("a damaged entry")
    told = json.loads(bytes(raw[:described]))
    dtype, shape, order = getattr(torch, told["dtype"]), told["shape"], told["order"]
    count = torch.Size(shape).numel()
    flat = torch.frombuffer(raw, dtype=dtype, count=count, offset=described) if count else torch.empty(0, dtype=dtype)
    return flat.view([shape[d] for d in order]).permute([order.index(d) for d in range(len(order))])


def _checksum(described: Any, data: Any) -> bytes:
    digest = hashlib.blake2b(described, digest_size=16)
    digest.update(data)
    return digest.digest()


def _make_room(answers: Path, own: Path, limit: float) -> int:
    """Delete the folders that were used the longest ago until half of the limit is free; return the bytes that are left."""
    sizes = {folder: _size(folder) for folder in answers.iterdir() if folder.is_dir() and not folder.is_symlink()}
    left = sum(sizes.values())
    if left > limit / 2:
        for folder in sorted(sizes, key=_used):
            if left > limit / 2 and folder != own and time.time() - _used(folder) > IN_USE:
                shutil.rmtree(folder, ignore_errors=True)
                left -= sizes[folder]
    return left


def _size(folder: Path) -> int:
    found = 0
    with contextlib.suppress(OSError):
        found = sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder))
    return found


def _used(folder: Path) -> float:
    try:
        return max([folder.stat().st_mtime, *(entry.stat().st_mtime for entry in os.scandir(folder))])
    except OSError:
        return 0.0
