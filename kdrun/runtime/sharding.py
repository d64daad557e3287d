"""Calls of models split among processes, with losses of the whole batch.

Every process holds the same models and sees the same batch. A call runs on the process's own share of the rows, and the
answers of all are put together again: what follows, which may compare any row with any other, sees what it would see on
one device, and is computed by all.

Gradients follow from two rules. Of a value that all processes have, each has the true gradient; inside a call, each has
the true one of its share times the number of processes. So the mean over processes of a parameter's gradient is the true
one, whether its model was called on shares or on the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map

__all__ = ["Shards", "running_statistics"]


class Shards:
    """This process's place, ``rank``, among ``size`` that train together. ``splitting``: a call on shares is going on."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size, self.splitting = rank, size, False

    def part(self, rows: int, rank: int | None = None) -> slice:
        """The share of ``rows`` rows that falls to a process (this one): the first ones get one more where it does not divide."""
        rank = self.rank if rank is None else rank
        each, more = divmod(rows, self.size)
        start = rank * each + min(rank, more)
        return slice(start, start + each + (rank < more))

    def reseed(self, seed: int) -> None:
        """Start torch's own random numbers (dropout) anew: others in each process, so that shares do not draw the same."""
        torch.manual_seed((seed + self.rank) % (1 << 63))

    def join(self, share: Tensor, rows: int) -> Tensor:
        """Put the shares of all processes together: [own rows, ...] → [rows, ...], of any dtype, channels last if the share is.

        They travel as bytes, in the order of the axes: processes may have laid their shares out in different ways.
        """
        content = share.detach().reshape(len(share), -1).contiguous().view(torch.uint8)
        longest = -(-rows // self.size)
        padded = content.new_empty((longest, content.shape[1]))
        padded[: len(content)] = content
        received = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(received, padded)
        pieces = [one[: self._count(rows, rank)] for rank, one in enumerate(received)]
        whole = torch.cat(pieces).view(share.dtype).reshape(rows, *share.shape[1:])
        last = share.dim() == 4 and not share.is_contiguous() and share.is_contiguous(memory_format=torch.channels_last)
        return whole.contiguous(memory_format=torch.channels_last) if last else whole

    def _count(self, rows: int, rank: int) -> int:
        part = self.part(rows, rank)
        return part.stop - part.start

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean over processes of each tensor, differentiable; one transfer for each dtype."""
        return list(_Mean.apply(self, *tensors))

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """As ``mean``, in place."""
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor)
        for same in by_dtype.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            pieces = flat.div_(self.size).split([tensor.numel() for tensor in same])
            for tensor, piece in zip(same, pieces, strict=True):
                tensor.copy_(piece.view(tensor.shape))

    def split(self, function: Callable[..., Any], whole: int = 0) -> Callable[..., Any]:
        """The function of rows, computed on shares. Its first ``whole`` inputs are given to all as they are.

        Every other input, and every tensor that it returns, has a row for each row of the batch. A batch with fewer rows
        than processes is computed whole by each.
        """

        def call(*inputs: Any) -> Any:
            rows = len(inputs[whole])
            if rows < self.size:
                return function(*inputs)
            self.splitting = True
            try:
                answers = function(*inputs[:whole], *(self._own(value) for value in inputs[whole:]))
            finally:
                self.splitting = False
            return tree_map(lambda v: _Join.apply(v, rows, self) if isinstance(v, Tensor) else v, answers)

        return call

    def _own(self, value: Tensor) -> Tensor:
        return _Split.apply(value, self) if value.requires_grad else value[self.part(len(value))]

    def decode(
        self, batches: Callable[[list[Tensor]], Iterator[dict[str, Tensor]]], chunks: list[Tensor]
    ) -> Iterator[dict[str, Tensor]]:
        """The batches of rows ``chunks``, of which each process decodes its share; ``batches`` decodes lists of rows."""
        own = [chunk if len(chunk) < self.size else chunk[self.part(len(chunk))] for chunk in chunks]
        for batch, chunk in zip(batches(own), chunks, strict=True):
            few = len(chunk) < self.size
            yield batch if few else {name: self.join(column, len(chunk)) for name, column in batch.items()}


class _Split(torch.autograd.Function):
    """[rows, ...] → [own rows, ...]."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, shards: Shards) -> Tensor:
        ctx.shards, ctx.rows = shards, len(value)
        return value[shards.part(len(value))].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Join.apply(gradient, ctx.rows, ctx.shards) / ctx.shards.size, None


class _Join(torch.autograd.Function):
    """[own rows, ...] → [rows, ...]."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, rows: int, shards: Shards) -> Tensor:
        ctx.shards = shards
        return shards.join(share, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _Split.apply(gradient, ctx.shards) * ctx.shards.size, None, None


class _Mean(torch.autograd.Function):
    """Gradients as each process has them → their mean, the true ones; and so for the gradients of these."""

    @staticmethod
    def forward(ctx: Any, shards: Shards, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.shards = shards
        copies = tuple(tensor.detach().clone() for tensor in tensors)
        shards.average(copies)
        return copies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return None, *_Mean.apply(ctx.shards, *gradients)


def running_statistics(modules: Iterable[nn.Module]) -> list[Tensor]:
    """The running means and variances that normalisations keep in these modules: [channels] each."""
    names = ("running_mean", "running_var")
    return [b for m in modules for n, b in m.named_buffers() if n.rpartition(".")[2] in names]
