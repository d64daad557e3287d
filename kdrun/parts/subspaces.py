"""Parts that keep a memory of tasks as subspaces of layer inputs, and decide what a new task may change.

A memory is named tensors: ``basis.TASK.LAYER`` and ``gradient.TASK.LAYER`` of each finished task, ``merged.LAYER`` of all of them.
Layers are the linear and convolutional weights of a network, by the names of their parameters.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Module
from torch.nn import functional as F

from kdrun.data.dataset import Dataset
from kdrun.models.building import build
from kdrun.ops.subspaces import joint_subspace, orthonormal_union
from kdrun.registry import initialize, reduce
from kdrun.runtime.context import Context
from kdrun.types import Count, Fraction, NonNegative

__all__ = [
    "scaled_projection",
    "subspace_shift",
    "task_gradient",
    "task_memory",
    "task_regimes",
]

Named = dict[str, Tensor]


def _base(model: Module) -> Module:
    return getattr(model, "base", model)


def _layers(model: Module) -> dict[str, nn.Module]:
    """Linear and convolutional layers by the name of their weight."""
    found = _base(model).named_modules()
    return {f"{name}.weight": m for name, m in found if isinstance(m, nn.Linear | nn.Conv2d)}


def _batch(data: Dataset, context: Context, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    batch = data.rows(rows)
    return tuple(batch[name].to(context.device) for name in ("image", "task", "label"))  # type: ignore[return-value]


@reduce(random=False)
def task_gradient(model: Module, data: Dataset, *, context: Context) -> Named:
    """Gradient of the mean cross-entropy over all rows, by layer: [outputs, inputs] each.

    Reads ``image`` [rows, ...], ``task`` and ``label`` [rows] (int64). Layers are the linear and convolutional ones, by the name
    of their weight; a convolution's inputs are channels times window.
    """
    image, task, label = _batch(data, context)
    weights = {name: layer.get_parameter("weight") for name, layer in _layers(model).items()}
    for weight in weights.values():
        weight.requires_grad_(True)
    loss = F.cross_entropy(model(image, task), label)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {name: g.flatten(1) for name, g in zip(weights, gradients, strict=True)}


@reduce
def task_memory(
    model: Module,
    data: Dataset,
    memory: dict[str, Tensor],
    *,
    energy: Fraction = 0.97,
    growth: NonNegative = 0.0,
    rows: Count = 125,
    patches: Count = 5000,
    context: Context,
    generator: torch.Generator,
) -> Named:
    """The memory with a finished task added: its subspace of each layer's inputs, and its last gradient.

    Adds ``basis.TASK.LAYER`` [inputs, rank] (orthonormal) and ``gradient.TASK.LAYER`` [outputs, inputs], widens ``merged.LAYER``
    [inputs, rank of all], and counts in ``tasks``. Inputs are those of ``rows`` random rows (of a convolution, of at most
    ``patches`` unfolded patches). ``energy`` is the share of ``Σ |x|²`` that a subspace holds (``joint_subspace``; Lin et al., 2022),
    plus ``growth`` for each task before.
    """
    number = int(memory["tasks"])
    share = min(energy + growth * number, 1.0)
    chosen = torch.randperm(len(data), generator=generator)[:rows]
    inputs: Named = {}

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            inputs[name] = _columns(layer, given[0], patches).clone()  # what comes after may work in place

        return hook

    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in _layers(model).items()]
    image, task, _ = _batch(data, context, chosen)
    with torch.no_grad():
        model(image, task)
    for handle in handles:
        handle.remove()
    found = {k: v.to(context.device) for k, v in memory.items()}
    for name, samples in inputs.items():
        empty = samples.new_zeros(len(samples), 0)
        own, merged = joint_subspace(found.get(f"merged.{name}", empty), samples, energy=share)
        found[f"basis.{number}.{name}"], found[f"merged.{name}"] = own, merged
    for name, gradient in task_gradient(model, data, context=context).items():
        found[f"gradient.{number}.{name}"] = gradient
    found["tasks"] = torch.tensor(number + 1)
    return found


def _columns(layer: nn.Module, given: Tensor, patches: int) -> Tensor:
    """Inputs of a layer as columns [inputs, samples]."""
    if isinstance(layer, nn.Conv2d):
        unfolded = F.unfold(given, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        columns = unfolded.transpose(0, 1).flatten(1)
        step = max(columns.shape[1] // patches, 1)
        return columns[:, ::step][:, :patches]
    return given.flatten(0, -2).T


@reduce
def task_regimes(
    gradient: dict[str, Tensor],
    memory: dict[str, Tensor],
    *,
    projection: Fraction = 0.5,
    correlation: float = 0.0,
    allowed: list[Literal["orthogonal", "forward", "backward"]] = ("orthogonal", "forward", "backward"),  # type: ignore[assignment]
    force: Literal["backward"] | None = None,
    reused: Count = 2,
    prefix: str = "student.base.",
) -> Named:
    """What a new task may do in each old task's subspace of each layer (Lin et al., 2022).

    ``gradient`` [outputs, inputs] by layer is the new task's, ``memory`` as of ``task_memory``. With G the new task's gradient, g
    the old one's: *orthogonal* unless ``|G B Bᵀ| ≥ projection · |G|``; else *forward* (re-used by scaling) unless ``<g, G> ≥
    correlation · |g| |G|``; else *backward*, where the weight may move. Only what is ``allowed`` occurs, the next stricter one in
    its place; with none allowed nothing is constrained; ``force`` names the regime of all.

    Returns, by layer: ``prefix`` + name, a basis [inputs, rank] of what updates must leave alone; ``free.prefix`` + name, of what
    may move back; ``scaled.`` + name, up to ``reused`` old tasks (int64) with the largest projection among those not orthogonal;
    and ``pairs`` [3], how many pairs of layer and task are orthogonal, forward and backward.

    >>> memory = {"tasks": torch.tensor(1), "basis.0.head": torch.tensor([[1.0], [0.0]]), "gradient.0.head": torch.ones(1, 2)}
    >>> found = parts.task_regimes({"head": torch.tensor([[3.0, 1.0]])}, memory, prefix="")
    >>> found["pairs"], found["free.head"]  # mostly inside the old subspace, and along the old gradient: it may move back
    (tensor([0., 0., 1.]), tensor([[1.],
            [0.]]))
    """
    found: Named = {}
    pairs = torch.zeros(3)
    for name, new in gradient.items():
        closed: list[Tensor] = []
        free: list[Tensor] = []
        strengths: dict[int, float] = {}
        for task in range(int(memory["tasks"])):
            basis, old = memory[f"basis.{task}.{name}"], memory[f"gradient.{task}.{name}"]
            strength = float((new @ basis).norm())
            regime = _regime(
                strength >= projection * float(new.norm()), _aligned(old, new, correlation), allowed, force
            )
            if regime is None:
                continue
            pairs[("orthogonal", "forward", "backward").index(regime)] += 1
            (free if regime == "backward" else closed).append(basis)
            if regime != "orthogonal":
                strengths[task] = strength
        inputs = new.shape[1]
        found[f"{prefix}{name}"] = orthonormal_union(closed) if closed else new.new_zeros(inputs, 0)
        found[f"free.{prefix}{name}"] = orthonormal_union(free) if free else new.new_zeros(inputs, 0)
        best = sorted(strengths, key=lambda task: -strengths[task])[:reused]
        found[f"scaled.{name}"] = torch.tensor(best, dtype=torch.int64)
    return {**found, "pairs": pairs}


def _aligned(old: Tensor, new: Tensor, correlation: float) -> bool:
    return bool((old * new).sum() >= correlation * old.norm() * new.norm())


def _regime(sufficient: bool, positive: bool, allowed: Any, force: str | None) -> str | None:
    if not allowed:
        return None
    if force is not None:
        return force
    regime = "orthogonal" if not sufficient else "backward" if positive else "forward"
    if regime == "backward" and "backward" not in allowed:
        regime = "forward"
    return "orthogonal" if regime == "forward" and "forward" not in allowed else regime


@initialize
def scaled_projection(model: Module, memory: dict[str, Tensor], regimes: dict[str, Tensor]) -> Module:
    """The network, with the re-use of the old subspaces that ``regimes`` chose for the new task (Lin et al., 2022).

    Each layer's weight is scaled inside a re-used subspace by a square matrix of the subspace's rank, which starts as the
    identity. ``memory`` is as of ``task_memory``, ``regimes`` as of ``task_regimes``.
    """
    base = _base(model)
    chosen = {name: regimes[f"scaled.{name}"].tolist() for name in _layers(model)}
    bases = {name: [memory[f"basis.{task}.{name}"] for task in tasks] for name, tasks in chosen.items()}
    ranks = {name: [b.shape[1] for b in found] for name, found in bases.items()}
    spec = dict(model.kdrun_spec["base"]) if hasattr(model, "base") else dict(model.kdrun_spec)  # type: ignore[index,arg-type]
    wrapped = build({"model": "scaled_projection", "base": spec, "ranks": ranks})
    state = {f"base.{name}": value for name, value in base.state_dict().items()}
    for name, found in bases.items():
        for j, basis in enumerate(found):
            state[f"bases.{name.replace('.', '/')}/{j}"] = basis
    wrapped.load_state_dict({**wrapped.state_dict(), **state})
    return wrapped


@reduce
def subspace_shift(now: Module, then: Module, memory: dict[str, Tensor]) -> Tensor:
    """``max |(W_now - W_then) B| / |W_then B|`` over layers, B the subspace of the newest task in ``memory``: a scalar.

    Norms are Frobenius'; weights are [outputs, inputs], as of ``task_gradient``. 0 where the layers still answer that task's
    inputs as they did.
    """
    task = int(memory["tasks"]) - 1
    shifts = []
    for (name, layer), other in zip(_layers(now).items(), _layers(then).values(), strict=True):
        basis = memory[f"basis.{task}.{name}"]
        new, old = (m.get_parameter("weight").detach().flatten(1).cpu() @ basis for m in (layer, other))
        shifts.append((new - old).norm() / old.norm())
    return torch.stack(shifts).max()
