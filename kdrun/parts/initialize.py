"""Parts of the ``initialize`` stage: a model with chosen first weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.taps import resolve_tap
from kdrun.registry import initialize

__all__ = ["copied_weights", "inner_linear", "linear_layer", "opaque", "random_weights"]


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
    """The model behind a counter, giving labels only."""
    wrapped = build({"model": "opaque", "base": model.kdrun_spec})
    wrapped.get_submodule("base").load_state_dict(model.state_dict())
    return wrapped


@initialize
def linear_layer(weight: Tensor) -> Module:
    """The linear map ``x @ weight`` with weight [inputs, outputs] as a model without bias, in float32."""
    layer = build({"model": "linear", "in_features": weight.shape[0], "out_features": weight.shape[1], "bias": False})
    layer.load_state_dict({"weight": weight.T.float().contiguous()})
    return layer


@initialize
def copied_weights(model: Module, source: Module, *, modules: list[str] | None = None) -> Module:
    """``model`` with the weights of ``source``, in the named ``modules`` or wherever names and shapes agree.

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
