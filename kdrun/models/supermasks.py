"""One network for many tasks, of which each sees the weights that its own mask keeps."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.models.heads import HeadsByTask
from kdrun.ops.masks import topk_mask
from kdrun.registry import catalog, model
from kdrun.types import Count, Fraction

__all__ = ["NormByTask", "SupermaskNetwork", "first_scores", "masked_weights"]


class NormByTask(nn.Module):
    """Batch norm without parameters whose running mean and variance are those of one task at a time: buffers [tasks, channels].

    ``task`` is the number of the task (int64, a scalar) and is set by the network that holds the layer, before its forward. On
    several processes each normalises its own share of a batch.
    """

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d, tasks: int) -> None:
        super().__init__()
        self.eps = layer.eps
        self.momentum = 0.1 if layer.momentum is None else layer.momentum
        self.register_buffer("mean", torch.zeros(tasks, layer.num_features))
        self.register_buffer("variance", torch.ones(tasks, layer.num_features))
        self.mean: Tensor
        self.variance: Tensor
        self.task = torch.zeros((), dtype=torch.int64)

    def forward(self, input: Tensor) -> Tensor:
        """[batch, channels, ...], normalised by the batch when training and by the task's statistics otherwise."""
        row = self.task.reshape(1)
        mean, variance = (kept.index_select(0, row)[0].clone() for kept in (self.mean, self.variance))
        output = F.batch_norm(input, mean, variance, training=self.training, momentum=self.momentum, eps=self.eps)
        if self.training:
            with torch.no_grad():
                self.mean.index_copy_(0, row, mean[None])
                self.variance.index_copy_(0, row, variance[None])
        return output


@model(name="supermask_network")
class SupermaskNetwork(nn.Module):
    """A network whose linear and convolutional weights W are read through a mask of each task: ``W ⊙ m_t`` (Wortsman et al., 2020).

    ``base`` is the complete specification of a network of images, or of images and tasks; ``m_t`` is ``topk_mask`` of the task's
    scores with ``density`` as its share, layer by layer, the last one as well. Biases are 0 and the parameters of norms those of the
    start, and both stay so, but heads that each task has for itself learn; batch norms keep statistics a task (``NormByTask``). ``base`` holds the weights and ``scores``
    a tensor [tasks, ...] for each of them. Reads images and the ``task`` [batch] (int64, below ``tasks``), one for the whole
    batch: rows of another task than the first get NaN. Gives what ``base`` gives. Taps are those of ``base``. Raises
    ``InputError`` for a base without linear or convolutional layers.

    >>> inside = {"model": "mlp", "hidden": [16], "in_features": 8, "num_classes": 3}
    >>> network = models.supermask_network(base=inside, tasks=5, density=0.2)
    >>> [(name.rpartition("/")[0], tuple(score.shape)) for name, score in network.scores.items()]
    [('body/0', (5, 16, 8)), ('head', (5, 3, 16))]
    >>> network(torch.zeros(4, 8), torch.full((4,), 2)).shape
    torch.Size([4, 3])
    """

    def __init__(self, *, base: dict[str, Any], tasks: Count, density: Fraction = 0.1) -> None:
        super().__init__()
        self.density = density
        self.base = (
            catalog()
            .get("model", base["model"])
            .load()(**{k: v for k, v in base.items() if k not in ("model", "weights")})
        )
        weights = masked_weights(self.base)
        if not weights:
            raise InputError(f"the model '{base['model']}' has no linear or convolutional layer to mask")
        self.scores = nn.ParameterDict()
        for name, weight in weights.items():
            self.scores[name.replace(".", "/")] = nn.Parameter(first_scores(torch.empty(tasks, *weight.shape)))
        _hold_the_rest(self.base, weights)
        self.norms = _norms_by_task(self.base, tasks)
        self.takes_task = len(inspect.signature(self.base.forward).parameters) > 1
        self.tap_points = {n: f"base.{p}" for n, p in getattr(self.base, "tap_points", {}).items()}

    def masks(self, task: Tensor) -> dict[str, Tensor]:
        """The mask of a ``task`` (int64, a scalar) by the name of the weight in ``base``; gradients go straight through to its scores."""
        row = task.reshape(1)
        return {
            key.replace("/", "."): topk_mask(score.index_select(0, row)[0], share=self.density)
            for key, score in self.scores.items()
        }

    def forward(self, image: Tensor, task: Tensor) -> Tensor:
        """Logits [batch, classes] of images under the mask of their ``task`` [batch] (int64)."""
        for norm in self.norms:
            norm.task = task[0]
        known = dict(self.base.named_parameters())
        seen = {name: known[name] * mask for name, mask in self.masks(task[0]).items()}
        logits = torch.func.functional_call(self.base, seen, (image, task) if self.takes_task else (image,))
        return logits.masked_fill((task != task[0])[:, None], torch.nan)


def first_scores(scores: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Fill scores [tasks, outputs, inputs, ...] from the Kaiming-uniform distribution with a = √5: between ±1 / √(inputs of one output)."""
    bound = 1 / scores[0, 0].numel() ** 0.5
    return nn.init.uniform_(scores, -bound, bound, generator=generator)


def masked_weights(base: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of linear and convolutional layers, by name."""
    layers = ((n, m) for n, m in base.named_modules() if isinstance(m, nn.Linear | nn.Conv2d))
    return {f"{name}.weight": layer.get_parameter("weight") for name, layer in layers}


def _hold_the_rest(base: nn.Module, weights: dict[str, nn.Parameter]) -> None:
    """Nothing but the masked weights and what only one task reads learns: biases are 0, all else stays."""
    own = [f"{name}.weight" for name, module in base.named_modules() if isinstance(module, HeadsByTask)]
    for name, parameter in base.named_parameters():
        if name not in weights and name not in own:
            parameter.requires_grad_(False)
            if name.endswith("bias"):
                nn.init.zeros_(parameter)


def _norms_by_task(base: nn.Module, tasks: int) -> list[NormByTask]:
    """Replace batch norms, in place; the new ones in order."""
    found = []
    for path, layer in list(base.named_modules()):
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.track_running_stats:
            parent, _, leaf = path.rpartition(".")
            found.append(NormByTask(layer, tasks))
            setattr(base.get_submodule(parent) if parent else base, leaf, found[-1])
    return found
