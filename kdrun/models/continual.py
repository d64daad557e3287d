"""Networks for sequences of tasks: one head a task, and layers that re-use old subspaces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdrun.models.heads import HeadsByTask, head_of_tasks
from kdrun.ops.subspaces import scaled_weight_projection
from kdrun.registry import catalog, model
from kdrun.types import Count, Positive, Size

__all__ = ["MultiHeadNetwork", "ScaledProjection"]


@model(name="multi_head_network")
class MultiHeadNetwork(nn.Module):
    """Convolutions (``channels``), then linear layers (``hidden``), with ReLU, and a linear head for each task.

    Without biases. Convolutions of 3 by 3 are followed by batch norm without running statistics or parameters, and
    max-pooling; linear layers, where ``layer_norm``, by layer norm without parameters, after the ReLU. With ``shared_head`` one
    head answers for all tasks. Logits are multiplied by ``output_scale``. Reads images [batch, in_channels, image_size,
    image_size] and the ``task`` [batch] (int64, from 0 to ``tasks`` - 1) whose head answers each; gives logits [batch,
    num_classes]. Taps: ``feature``, what enters the head, and ``head``.

    >>> network = models.multi_head_network(hidden=[16], tasks=3, num_classes=2, in_channels=1, image_size=8)
    >>> network(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 2, 1])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        *,
        channels: list[Count] = (),  # type: ignore[assignment]
        hidden: list[Count] = (100, 100),  # type: ignore[assignment]
        tasks: Count = 10,
        shared_head: bool = False,
        layer_norm: bool = False,
        output_scale: Positive = 1.0,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, side = int(in_channels), int(image_size)
        for width in channels:
            normal = nn.BatchNorm2d(width, affine=False, track_running_stats=False)
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), normal, nn.ReLU(), nn.MaxPool2d(2)]
            before, side = width, side // 2
        layers.append(nn.Flatten())
        before *= side * side
        for width in hidden:
            layers += [nn.Linear(before, width, bias=False), nn.ReLU()]
            layers += [nn.LayerNorm(width, elementwise_affine=False)] if layer_norm else []
            before = width
        self.body = nn.Sequential(*layers)
        self.head = head_of_tasks(before, int(num_classes), None if shared_head else tasks)
        self.output_scale = output_scale
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, image: Tensor, task: Tensor) -> Tensor:
        """Logits [batch, classes] of images, each by the head of its ``task`` [batch] (int64)."""
        features = self.body(image)
        logits = self.head(features, task) if isinstance(self.head, HeadsByTask) else self.head(features)
        return logits if self.output_scale == 1.0 else logits * self.output_scale


@model(name="scaled_projection")
class ScaledProjection(nn.Module):
    """A network whose layers re-use old subspaces: ``W + Σ_j W B_j (S_j - I) B_jᵀ`` with trained S_j, identity at first.

    ``base`` is the complete specification of the network, ``ranks`` maps names of its weights to the ranks of the
    subspaces, one a subspace. Inputs and outputs are those of ``base``. Bases B_j are given by who makes the model, 0
    at first.

    >>> inside = {"model": "linear_classifier", "in_features": 4, "num_classes": 3}
    >>> models.scaled_projection(base=inside, ranks={"head.weight": [2, 1]})(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, *, base: dict[str, Any], ranks: dict[str, list[Count]]) -> None:
        super().__init__()
        self.base = catalog().get("model", base["model"]).load()(**{k: v for k, v in base.items() if k != "model"})
        self.weights = {
            name: [f"{name.replace('.', '/')}/{j}" for j in range(len(r))] for name, r in ranks.items() if r
        }
        self.scales, self.bases = nn.ParameterDict(), nn.ParameterDict()
        known = dict(self.base.named_parameters())
        for name, keys in self.weights.items():
            for key, rank in zip(keys, ranks[name], strict=True):
                self.scales[key] = nn.Parameter(torch.eye(rank))
                self.bases[key] = nn.Parameter(torch.zeros(known[name].flatten(1).shape[1], rank), requires_grad=False)

    def forward(self, *inputs: Any) -> Any:
        """What the base says with the scaled weights."""
        if not self.weights:
            return self.base(*inputs)
        known = dict(self.base.named_parameters())
        changed = {
            name: scaled_weight_projection(
                known[name].flatten(1), [self.bases[k] for k in keys], [self.scales[k] for k in keys]
            ).view_as(known[name])
            for name, keys in self.weights.items()
        }
        return torch.func.functional_call(self.base, changed, inputs)
