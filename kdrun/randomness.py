"""Seeds by name: every random stream of a stage is fixed by the run's seed, the stage's name and its purpose.

A stream does not depend on what was cached, on the order of stages or on the launcher. Two arms whose
stages have one name share their streams (same initial weights, same batch order), so that differences
between arms are paired and their variance is small.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["seed_of", "seeded", "stream"]


def seed_of(seed: int, *labels: object) -> int:
    """A 63-bit seed from the run's seed and labels such as the stage's name and a purpose."""
    text = "\x1f".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *labels: object) -> torch.Generator:
    """A CPU generator seeded by ``seed_of``."""
    import torch

    return torch.Generator().manual_seed(seed_of(seed, *labels))


@contextlib.contextmanager
def seeded(seed: int, *labels: object) -> Iterator[None]:
    """Run a block with torch's global generators seeded by ``seed_of``; restore them afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, *labels))
        yield
