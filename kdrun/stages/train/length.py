"""How long to train, and in what order rows come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from kdrun.errors import InputError
from kdrun.optim.schedules import Progress

__all__ = ["Length", "batches_of"]


@dataclass(frozen=True)
class Length:
    """``steps`` in all, ``per_epoch`` in a pass over all rows; ``order``: the rows of an epoch, where a sampler chooses them."""

    steps: int
    per_epoch: int
    drop_last: bool
    shuffle: bool
    order: Callable[[int], Tensor] | None = None

    @property
    def epochs(self) -> int:
        """How many epochs are begun."""
        return max(1, -(-self.steps // self.per_epoch))

    def progress(self, epoch: int, within: int, batches: int) -> Progress:
        """Where batch number ``within`` of an epoch of ``batches`` stands; schedules see each epoch as long as one over all rows."""
        step = epoch * self.per_epoch + within * self.per_epoch // batches
        return Progress(
            step=step,
            steps=self.steps,
            epoch=step // self.per_epoch,
            epochs=self.epochs,
            steps_per_epoch=self.per_epoch,
        )


def batches_of(rows: int, batch_size: int, *, drop_last: bool, key: str) -> int:
    """How many batches so many rows make. Raises ``InputError`` if they make none."""
    count = rows // batch_size if drop_last else -(-rows // batch_size)
    if count == 0:
        raise InputError(f"the data has {rows} rows: too few for one batch of {batch_size}", key=key)
    return count
