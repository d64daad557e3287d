"""The hardware group in force: device, precision, threads, determinism, processes."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdrun.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kdrun.runtime.sharding import Shards

__all__ = ["Hardware"]

PRECISIONS = {"fp32": None, "bf16": "bfloat16", "fp16": "float16"}


class Hardware:
    """Where and how tensors are computed. Building it sets threads and determinism for the process.

    Raises ``InputError`` for a device that is not there or a precision that is not known.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        import torch

        self.settings = dict(settings)
        self.precision = str(settings.get("precision", "fp32"))
        if self.precision not in PRECISIONS:
            raise InputError(
                f"precision is one of {', '.join(PRECISIONS)}, got '{self.precision}'", key="hardware.precision"
            )
        self.workers = int(settings.get("workers", 0))
        self.processes = int(settings.get("processes", 1))
        if self.processes < 1 or (self.processes > 1 and str(settings.get("device")).startswith("mps")):
            raise InputError(f"processes is at least 1, and 1 on mps, got {self.processes}", key="hardware.processes")
        self.device = self._device(str(settings.get("device", "cpu")))
        torch.set_num_threads(int(settings.get("threads", 1)))
        if settings.get("deterministic"):
            torch.use_deterministic_algorithms(True, warn_only=True)

    def _device(self, name: str) -> torch.device:
        import torch

        kind = name.split(":")[0]
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if kind not in there:
            raise InputError(f"device is one of {', '.join(there)}, got '{name}'", key="hardware.device")
        if not there[kind]:
            raise InputError(
                f"this machine has no {kind} device that torch can use; try hardware=cpu", key="hardware.device"
            )
        return self._own(name) if kind == "cuda" and self.processes > 1 else torch.device(name)

    def _own(self, name: str) -> torch.device:
        """The GPU of this process among those that train together on this machine."""
        import torch

        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.processes))
        if name != "cuda" or here > torch.cuda.device_count():
            raise InputError(
                f"{here} processes need a GPU each, and device=cuda; this machine has {torch.cuda.device_count()}",
                key="hardware.processes",
            )
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        return device

    @functools.cached_property
    def shards(self) -> Shards | None:
        """How calls of models are split among the processes that train together; None for one process."""
        from kdrun.runtime.processes import Group, launched
        from kdrun.runtime.sharding import Shards

        if self.processes == 1:
            return None
        rank, _ = launched() or (0, 1)
        if rank == 0:
            Group.of(self.processes)
        return Shards(rank, self.processes)

    def autocast(self) -> Any:
        """A context factory for mixed precision, or None in full precision (so that nothing is entered)."""
        import torch

        name = PRECISIONS[self.precision]
        return None if name is None else functools.partial(torch.autocast, self.device.type, getattr(torch, name))

    def scaler(self) -> Any:
        """A gradient scaler, for fp16 on a GPU only."""
        import torch

        return (
            torch.amp.GradScaler(self.device.type) if self.precision == "fp16" and self.device.type == "cuda" else None
        )

    def prepare(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, with convolutions channels-last and compiled if the group says so."""
        import torch

        module.to(self.device)
        if self.settings.get("channels_last"):
            for inner in module.modules():
                if isinstance(inner, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                    inner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.settings.get("compile"):
            module.compile()
        return module

    def synchronize(self) -> None:
        """Wait for the device; for timings."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextlib.contextmanager
    def evaluation(self) -> Any:
        """No gradients, and the group's precision."""
        import torch

        autocast = self.autocast()
        with torch.no_grad(), autocast() if autocast else contextlib.nullcontext():
            yield
