"""Masks of tasks over one network's weights: put on, begun from another task's, and asked which weights are whose."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.supermasks import SupermaskNetwork, first_scores, masked_weights
from kdrun.models.taps import WatchedSlot, tap
from kdrun.ops.masks import exclusive_mask, mask_overlap
from kdrun.ops.neighbourhoods import knn_predict
from kdrun.registry import initialize, reduce, shape_of
from kdrun.runtime.context import Context
from kdrun.types import Count, Fraction, Positive

__all__ = ["supermask_network", "supermask_overlap", "supermask_ownership", "supermask_transfer"]


@initialize
def supermask_network(
    model: Module,
    *,
    tasks: Count,
    density: Fraction = 0.1,
    gain: Positive = 1.4142135623730951,
    generator: torch.Generator,
) -> Module:
    """The model behind a mask for each of ``tasks``, its weights made signed constants: ``sign(W) · gain / √(inputs)``.

    The mask of a task keeps the ``density`` of each layer's weights with the largest scores, which are Kaiming-uniform (a = √5) at
    first (Wortsman et al., 2020). ``gain`` is √2, that of a ReLU, unless given; inputs are those of one output: of a convolution,
    channels times window. What has no mask, as biases and the parameters of norms, is the same for all tasks and does not learn
    (``supermask_network`` among the models).
    """
    wrapped = build({"model": "supermask_network", "base": dict(model.kdrun_spec), "tasks": tasks, "density": density})  # type: ignore[arg-type]
    assert isinstance(wrapped, SupermaskNetwork)
    kept = {n: v for n, v in model.state_dict().items() if n in wrapped.base.state_dict() and not n.endswith("bias")}
    wrapped.base.load_state_dict(kept, strict=False)
    with torch.no_grad():
        for weight in masked_weights(wrapped.base).values():
            weight.copy_(weight.sign() * gain / weight[0].numel() ** 0.5)
        for scores in wrapped.scores.values():
            scores.copy_(first_scores(torch.empty(scores.shape, device=generator.device), generator))
    return wrapped


@initialize
def supermask_transfer(
    model: Module,
    data: Dataset,
    *,
    choose: Literal["best", "mean", "none"] = "best",
    k: Count = 10,
    share: Fraction = 0.2,
    context: Context,
    generator: torch.Generator,
) -> Module:
    """The model whose new task starts from the scores of earlier ones, as nearest neighbours find them to fit (Yadav & Bansal, 2022).

    The new task is that of the column ``task`` of ``data``, which also has ``image`` and ``label``. A random ``share`` of its rows goes
    through the network in eval mode under the mask of each earlier task, up to the tap ``feature``; the first 66 % of them
    predict the others by ``knn_predict``, ``k`` or as many as there are. Where the best accuracy is above chance, the scores of that
    task (``best``; the first of equals), or the mean of all above chance (``mean``), become those of the new one; ``none``: never.
    Raises ``InputError`` for a model without masks.
    """
    network = _masked(model)
    number, classes = int(_task(data)), int(data.info.classes or 0)
    if choose == "none" or not number:
        return network
    rows = torch.randperm(len(data), generator=generator)[: max(int(share * len(data)), 2)]
    batch = {name: value.to(context.device) for name, value in data.rows(rows).items()}
    cut = max(int(0.66 * len(rows)), 1)
    reached = []
    for features in _features(network, batch["image"], tasks=number):
        given = knn_predict(features[:cut], batch["label"][:cut], features[cut:], k=min(k, cut), num_classes=classes)
        reached.append((given == batch["label"][cut:]).double().mean().item())
    fitting = [task for task, accuracy in enumerate(reached) if accuracy > 1 / classes]
    if not fitting:
        return network
    chosen = fitting if choose == "mean" else [max(fitting, key=lambda task: reached[task])]
    with torch.no_grad():
        for scores in network.scores.values():
            scores[number] = scores[chosen].mean(0)
    return network


@shape_of("initialize", "supermask_transfer")
def transferred_shape(model: Module, data: Dataset, **options: object) -> Module:
    """The network as it is: which task it starts from is known when it has seen the rows."""
    return model


@reduce(random=False)
def supermask_ownership(
    model: Module, data: Dataset, *, exclusive: bool = True, prefix: str = "student.base."
) -> dict[str, Tensor]:
    """Which weights the task of ``data`` may change: ``prefix`` + a weight's name to 0 and 1, of its shape.

    Those that its mask keeps and, if ``exclusive``, that of no earlier task does (``exclusive_mask``; Yadav & Bansal, 2022). The
    task is that of the column ``task`` (int64) of the first row, earlier ones have smaller numbers. Raises ``InputError`` for a
    model without masks.
    """
    found = _until(_masked(model), _task(data))
    return {f"{prefix}{name}": exclusive_mask(masks if exclusive else masks[-1:]) for name, masks in found.items()}


@shape_of("reduce", "supermask_ownership")
def ownership_shape(
    model: Module, data: Dataset, *, prefix: str = "student.base.", **options: object
) -> dict[str, Tensor]:
    """A mask of each weight's shape."""
    return {f"{prefix}{name}": weight.detach() for name, weight in masked_weights(_masked(model).base).items()}


@reduce(random=False)
def supermask_overlap(model: Module, data: Dataset) -> Tensor:
    """Share of the weights kept for the task of ``data`` that an earlier task keeps, too, over all layers: a scalar.

    ``mask_overlap`` of all masks together; the task as in ``supermask_ownership``. 0 for the first task.
    """
    found = _until(_masked(model), _task(data))
    return mask_overlap(torch.cat([masks.flatten(1) for masks in found.values()], dim=1))


@shape_of("reduce", "supermask_overlap")
def overlap_shape(model: Module, data: Dataset) -> Tensor:
    """A number."""
    return torch.zeros(())


def _masked(model: Module) -> SupermaskNetwork:
    if not isinstance(model, SupermaskNetwork):
        raise InputError(f"a network with a mask for each task is expected, got {type(model).__name__}")
    return model


def _task(data: Dataset) -> Tensor:
    return data.rows(torch.tensor([0]))["task"][0].cpu()


def _until(network: SupermaskNetwork, task: Tensor) -> dict[str, Tensor]:
    """By weight, the masks of all tasks before ``task``, those of later ones being empty, and at last its own: [tasks + 1, ...]."""
    device = next(network.parameters()).device
    tasks = len(next(iter(network.scores.values())))
    before = (torch.arange(tasks) < task).to(device)
    with torch.no_grad():
        each = [network.masks(torch.tensor(number, device=device)) for number in range(tasks)]
        own = network.masks(task.to(device))
    found = {}
    for name, mask in own.items():
        earlier = torch.stack([one[name] for one in each])
        found[name] = torch.cat([earlier * before.view(-1, *[1] * mask.dim()), mask[None]])
    return found


@torch.no_grad()
def _features(network: SupermaskNetwork, image: Tensor, *, tasks: int) -> Iterator[Tensor]:
    """What enters the classifier under the mask of each of the first tasks, in eval mode: [rows, features] each."""
    probe = copy.deepcopy(network).eval()
    slot = tap(probe, "feature", WatchedSlot())
    for task in range(tasks):
        probe(image, torch.full((len(image),), task, device=image.device))
        yield slot.take().flatten(1)
