"""What torch keeps for the whole process: threads, determinism, the global random streams.

A run needs its own; the program around it, such as a notebook, finds its own again when the run is over.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["put_in_force", "restored_afterwards"]

_one_at_a_time = threading.RLock()


def put_in_force(settings: Mapping[str, Any]) -> None:
    """Set threads and determinism as a hardware group says, if another run or the program around it set them otherwise."""
    import torch

    threads, deterministic = int(settings.get("threads", 1)), bool(settings.get("deterministic"))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic, warn_only=True)


@contextlib.contextmanager
def restored_afterwards() -> Iterator[None]:
    """Leave threads, determinism and torch's global random streams as they were before the block.

    Blocks of several threads wait for each other, since a run draws from those streams.
    """
    import torch

    with _one_at_a_time:
        threads = torch.get_num_threads()
        deterministic = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        drawn = torch.get_rng_state()
        drawn_on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_rng_state(drawn)
            if drawn_on_devices is not None:
                torch.cuda.set_rng_state_all(drawn_on_devices)
