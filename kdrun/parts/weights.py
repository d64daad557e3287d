"""Weights of models: first ones, taken out, copied, averaged, added."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Linear, Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.models.building import build
from kdrun.models.taps import resolve_tap
from kdrun.registry import initialize, merge, reduce
from kdrun.runtime.artifacts import Model
from kdrun.runtime.context import Context

__all__ = [
    "average_weights",
    "best_scored",
    "copied_weights",
    "given_weight",
    "inner_linear",
    "linear_layer",
    "linear_weight",
    "new_head",
    "opaque",
    "random_weights",
    "task_arithmetic",
]


@initialize
def random_weights(model: Module, data: Dataset | None = None) -> Module:
    """The model with the first weights that its constructor drew, from this stage's random stream.

    Sizes that the model leaves open are those of ``data``.
    """
    return model


@initialize
def inner_linear(model: Module, *, module: str = "head") -> Module:
    """The linear layer at ``module`` of a model, as a model of its own, with its weights.

    Raises ``InputError`` if there is no such module or it is not linear.

    >>> inner = parts.inner_linear(models.mlp(hidden=[8], in_features=4, num_classes=3))
    >>> inner(torch.zeros(2, 8)).shape
    torch.Size([2, 3])
    """
    inner, _ = resolve_tap(model, module)
    if not isinstance(inner, nn.Linear):
        raise InputError(f"'{module}' is no linear layer but {type(inner).__name__}")
    spec = {"in_features": inner.in_features, "out_features": inner.out_features, "bias": inner.bias is not None}
    layer = build({"model": "linear", **spec})
    layer.load_state_dict(inner.state_dict())
    return layer


@initialize
def opaque(model: Module) -> Module:
    """The model behind a counter, giving labels only: ``label`` [rows] (int64), the likeliest class of each row."""
    wrapped = build({"model": "opaque", "base": model.kdrun_spec})
    wrapped.get_submodule("base").load_state_dict(model.state_dict())
    return wrapped


@initialize
def linear_layer(weight: Tensor) -> Module:
    """The linear map ``x @ weight`` with ``weight`` [inputs, outputs] as a model without bias, in float32.

    >>> parts.linear_layer(torch.tensor([[1.0], [10.0]]))(torch.tensor([[2.0, 3.0]])).item()
    32.0
    """
    layer = build({"model": "linear", "in_features": weight.shape[0], "out_features": weight.shape[1], "bias": False})
    layer.load_state_dict({"weight": weight.T.float().contiguous()})
    return layer


@initialize
def copied_weights(model: Module, source: Module, *, modules: list[str] | None = None) -> Module:
    """``model`` with the weights of ``source``, in the named ``modules`` or wherever names and shapes agree; in eval mode.

    Raises ``InputError`` if a named module does not fit or nothing agrees.
    """
    given, own = source.state_dict(), model.state_dict()
    wanted = [k for k in own if modules is None or any(k == m or k.startswith(f"{m}.") for m in modules)]
    fitting = [k for k in wanted if k in given and given[k].shape == own[k].shape]
    if not fitting or (modules is not None and len(fitting) < len(wanted)):
        bad = next((k for k in wanted if k not in fitting), "no weight")
        raise InputError(f"the weights cannot be copied: {bad} is not in the source, or of another shape")
    model.load_state_dict({**own, **{k: given[k] for k in fitting}})
    return nn.Module.eval(model)


@initialize
def new_head(model: Module, data: Dataset, *, head: str = "head", context: Context) -> Module:
    """The model with a fresh last layer for the classes of ``data``; all other weights, and what is frozen, stay.

    ``head`` is the path of that layer. Raises ``InputError`` if the model's part has no ``num_classes`` or no such layer, or the
    data does not say how many classes it has.
    """
    spec = dict(getattr(model, "kdrun_spec", {}))
    if "num_classes" not in spec or data.info.classes is None:
        raise InputError("new_head needs a model with num_classes, and data that says how many classes it has")
    own = model.state_dict()
    if not any(k.startswith(f"{head}.") for k in own):
        raise InputError(f"the model has no layer '{head}' with weights")
    fresh = context.module(Model({**spec, "num_classes": data.info.classes}, None))
    kept = {k: v for k, v in own.items() if not k.startswith(f"{head}.")}
    fresh.load_state_dict(kept, strict=False)
    if not hasattr(fresh, "kdrun_spec"):  # on fake tensors
        object.__setattr__(fresh, "kdrun_spec", {**spec, "num_classes": data.info.classes})
    return fresh


@initialize
def given_weight(model: Module, value: Tensor, data: Dataset | None = None, *, weight: str = "head.weight") -> Module:
    """The model with the tensor ``value`` in the place of one of its weights or buffers, named by its path; others stay.

    Sizes that the model leaves open are those of ``data``. Raises ``InputError`` if there is no such weight, or it has another shape.

    >>> layer = parts.given_weight(models.linear(in_features=2, out_features=1), torch.tensor([[3.0, 4.0]]), weight="weight")
    >>> layer.weight.detach()
    tensor([[3., 4.]])
    """
    own = model.state_dict()
    if weight not in own:
        raise InputError(f"the model has no weight '{weight}'{nearest(weight, own)}")
    if own[weight].shape != value.shape:
        raise InputError(f"'{weight}' is {list(own[weight].shape)}: it cannot become {list(value.shape)}")
    model.load_state_dict({**own, weight: value.to(own[weight])})
    return model


@reduce
def linear_weight(model: Module) -> Tensor:
    """The weight of a model that is one linear layer, as the matrix of ``x @ weight``: [inputs, outputs].

    Raises ``InputError`` for any other model.

    >>> layer = models.linear(in_features=3, out_features=2)
    >>> parts.linear_weight(layer).shape
    torch.Size([3, 2])
    """
    if not isinstance(model, Linear):
        raise InputError(f"this model is no linear layer but {type(model).__name__}")
    return model.weight.detach().T.contiguous()


@merge
def average_weights(models: list[Module], *, weights: list[float] | None = None) -> Module:
    """The (weighted) mean of all parameters and floating-point buffers: ``Σ w_k θ_k / Σ w_k`` (model soups: Wortsman et al., 2022).

    Other buffers are the first model's. Raises ``InputError`` if architectures or the number of ``weights`` differ.

    >>> first, second = (parts.linear_layer(torch.tensor([[value]])) for value in (1.0, 4.0))
    >>> parts.average_weights([first, second], weights=[2.0, 1.0]).weight.item()
    2.0
    """
    shares = weights or [1.0] * len(models)
    if len(shares) != len(models):
        raise InputError(f"{len(models)} models need as many weights, got {len(shares)}")
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in states[0].items()}:
            raise InputError("weights are averaged over models of one architecture")
    merged = copy.deepcopy(models[0])
    total = sum(shares)
    merged.load_state_dict(
        {
            name: torch.stack([s * state[name] for s, state in zip(shares, states, strict=True)]).sum(0) / total
            if value.is_floating_point()
            else value
            for name, value in states[0].items()
        }
    )
    return merged


@merge
def best_scored(models: list[Module], scores: list[dict[str, Any]], *, column: str, largest: bool = True) -> Module:
    """The one of the models whose row of ``scores`` has the largest (or smallest) value in ``column``; the first of equals.

    ``scores`` is a table with a row a model, in the models' order, such as ``evaluate`` gives. NaN never wins.
    Raises ``InputError`` for another number of rows, no such column or NaN alone.

    >>> first, second = (parts.linear_layer(torch.tensor([[value]])) for value in (1.0, 4.0))
    >>> parts.best_scored([first, second], [{"accuracy": 0.5}, {"accuracy": 0.75}], column="accuracy") is second
    True
    """
    if len(scores) != len(models):
        raise InputError(f"{len(models)} models need a table with as many rows, got {len(scores)}")
    if any(column not in row for row in scores):
        raise InputError(f"the scores have no column '{column}'{nearest(column, scores[0])}")
    values = [float(row[column]) * (1 if largest else -1) for row in scores]
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    if not known:
        raise InputError(f"no model has a number in '{column}'")
    return models[max(known, key=lambda i: values[i])]


@merge
def task_arithmetic(base: Module, models: list[Module], *, scale: float = 1.0) -> Module:
    """The base's weights plus ``scale`` times the summed differences of the tuned ``models`` from it (Ilharco et al., 2023).

    ``θ + scale · Σ_k (θ_k - θ)``, written into the base. Buffers that are no floating-point numbers are the base's. Raises
    ``InputError`` if architectures differ.

    >>> base, first, second = (parts.linear_layer(torch.tensor([[value]])) for value in (1.0, 2.0, 4.0))
    >>> parts.task_arithmetic(base, [first, second], scale=0.5).weight.item()
    3.0
    """
    start, states = base.state_dict(), [model.state_dict() for model in models]
    for state in states:
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in start.items()}:
            raise InputError("task vectors are differences between models of one architecture")
    base.load_state_dict(
        {
            name: value + scale * torch.stack([state[name] - value for state in states]).sum(0)
            if value.is_floating_point()
            else value
            for name, value in start.items()
        }
    )
    return base
