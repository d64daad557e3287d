"""Batch normalisation by the statistics of the whole batch where each process has a share of it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kdrun.runtime.sharding import Shards

__all__ = ["across_processes"]

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def across_processes(module: nn.Module, shards: Shards, device: torch.device) -> nn.Module:
    """Replace batch normalisations, torch's own kinds, by ones with the same parameters that see all shares.

    On GPUs they are ``torch.nn.SyncBatchNorm``, which has no CPU kernels.
    """
    if type(module) in KINDS:
        on_gpu = device.type == "cuda"
        return nn.SyncBatchNorm.convert_sync_batchnorm(module) if on_gpu else _Across(module, shards)
    for name, child in module.named_children():
        setattr(module, name, across_processes(child, shards, device))
    return module


class _Across(nn.modules.batchnorm._BatchNorm):
    """Normalises [batch, channels, ...] over the rows of all processes, in float32; of ``other``'s parameters and buffers."""

    def __init__(self, other: Any, shards: Shards) -> None:
        super().__init__(other.num_features, other.eps, other.momentum, other.affine, other.track_running_stats)
        self._parameters, self._buffers = other._parameters, other._buffers
        self.shards = shards
        self.train(other.training)

    def _check_input_dim(self, value: Tensor) -> None:
        pass

    def forward(self, value: Tensor) -> Tensor:
        if not self.shards.splitting or not (self.training or self.running_mean is None):
            return super().forward(value)
        over, shape = [0, *range(2, value.dim())], [1, -1] + [1] * (value.dim() - 2)
        given = value.float()
        count = _Sum.apply(given.new_tensor(given.numel() / given.shape[1]))
        mean = _Sum.apply(given.sum(over)) / count
        centred = given - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(over)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(value.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards these; without a momentum, to the mean over all batches."""
        if not self.training or self.running_mean is None:
            return
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """The sum over processes; so is its gradient, as every process uses the sum for rows of its own."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.apply(gradient)
