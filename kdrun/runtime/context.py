"""What a stage is given beside its inputs: device, random streams, checkpoints, progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.randomness import seed_of, stream

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kdrun.runtime.answers import Shelf
    from kdrun.runtime.artifacts import Model
    from kdrun.runtime.checkpoints import Checkpoints
    from kdrun.runtime.hardware import Hardware
    from kdrun.runtime.progress import Reporter

__all__ = ["Context"]


@dataclass
class Context:
    """The surroundings of one stage run. ``name`` labels its random streams; ``config_key`` its errors; ``store`` is a folder for what runs share."""

    name: str
    key: str
    config_key: str
    seed: int
    hardware: Hardware
    checkpoints: Checkpoints
    reporter: Reporter
    checkpoint_seconds: float = 60.0
    store: Path | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    saved: float = field(default_factory=time.monotonic, init=False)

    @property
    def device(self) -> torch.device:
        return self.hardware.device

    def seed_for(self, *labels: object) -> int:
        """A seed for one purpose inside this stage."""
        return seed_of(self.seed, self.name, *labels)

    def generator(self, *labels: object) -> torch.Generator:
        """A CPU generator for one purpose inside this stage."""
        return stream(self.seed, self.name, *labels)

    def resumed(self) -> tuple[int, Any] | None:
        """The step and state that ``checkpoint`` saved last, if this stage was cut off before; said to the user."""
        from kdrun.runtime.checkpoints import unflatten

        found = self.checkpoints.latest()
        if found is None:
            return None
        step, tensors, meta = found
        self.reporter.message(f"{self.name}: resumed at step {step}")
        return step, unflatten(tensors, meta)

    def checkpoint(self, step: int, state: Callable[[], Any]) -> None:
        """Save ``state()`` (nested dicts, lists, tensors and scalars) after ``step`` steps, if the last time is long enough ago."""
        if time.monotonic() - self.saved >= self.checkpoint_seconds:
            from kdrun.runtime.checkpoints import flatten

            self.checkpoints.save(step, *flatten(state()))
            self.saved = time.monotonic()

    def shelf(self) -> Shelf | None:
        """Where runs share what frozen models answer, if the hardware group gives it room and models are asked on the CPU."""
        from kdrun.runtime.answers import Shelf

        limit = float(self.hardware.settings.get("share_gib", 0.0)) * 2**30
        if self.store is None or limit == 0 or self.device.type != "cpu" or not hasattr(os, "pread"):
            return None
        return Shelf(self.store, limit)

    def module(self, model: Model, *, role: str = "model") -> nn.Module:
        """Build a model artifact as a module on the device, in eval mode.

        One that was never trained gets first weights from this stage's stream for ``role``.
        """
        from kdrun.models.building import build, load_state, resolve
        from kdrun.models.checkpoints import load_weights

        spec = resolve(model.spec, self.sizes)
        module = build(spec, seed=(self.seed, self.name, "weights", role))
        if model.state is not None:
            load_state(module, model.state, source=f"the stored model '{spec['model']}'")
        elif spec.get("weights"):
            for told in load_weights(module, spec["weights"], key=f"{role}.weights"):
                self.reporter.message(f"{self.name}: {told}")
        return self.hardware.prepare(module).eval()

    def model(self, module: nn.Module, spec: Mapping[str, Any] | None = None) -> Model:
        """The artifact of a module: its specification and its weights on the CPU."""
        from kdrun.runtime.artifacts import Model

        state = {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
        chosen: Any = spec if spec is not None else getattr(module, "kdrun_spec", {})
        return Model({k: v for k, v in dict(chosen).items() if k != "weights"}, state)
