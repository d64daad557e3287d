"""Parts of the ``reduce`` stage that score an untrained network on one batch (zero-cost proxies)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import Module
from torch.nn import functional as F

from kdrun.data.dataset import Dataset
from kdrun.registry import reduce
from kdrun.runtime.context import Context
from kdrun.types import Positive

__all__ = ["fisher", "gradient_norm", "grasp", "jacob_cov", "naswot", "parameter_total", "snip", "synflow"]


def _batch(data: Dataset, context: Context) -> tuple[Tensor, Tensor]:
    rows = data.rows()
    return rows["image"].to(context.device), rows["label"].to(context.device)


def _with_gradients(model: Module, loss: Tensor) -> list[tuple[Tensor, Tensor]]:
    weights = [p for p in model.parameters() if p.dim() > 1]
    return list(zip(weights, torch.autograd.grad(loss, weights), strict=True))


@reduce
def parameter_total(model: Module, data: Dataset) -> Tensor:
    """The number of parameters: a scalar (float32). ``data`` is not read.

    >>> parts.parameter_total(models.linear(in_features=3, out_features=2), None)
    tensor(8.)
    """
    return torch.tensor(float(sum(p.numel() for p in model.parameters())))


@reduce(random=False)
def gradient_norm(model: Module, data: Dataset, *, context: Context) -> Tensor:
    """The L2 norm of the gradient of the cross-entropy on the batch, over all weights: a scalar (Abdelfattah et al., 2021).

    ``sqrt(Σ (∂CE/∂w)²)`` over the parameters of two axes or more; ``data`` is one batch, ``image`` [rows, ...] and ``label``
    [rows] (int64). The model is in training mode.
    """
    image, label = _batch(data, context)
    pairs = _with_gradients(model.train(), F.cross_entropy(model(image), label))
    return torch.stack([g.square().sum() for _, g in pairs]).sum().sqrt()


@reduce(random=False)
def snip(model: Module, data: Dataset, *, context: Context) -> Tensor:
    """``Σ |w · ∂CE/∂w|`` over all weights: a scalar (Lee, Ajanthan & Torr, 2019).

    Over the parameters of two axes or more; ``data`` is one batch, ``image`` [rows, ...] and ``label`` [rows] (int64). The model
    is in training mode.
    """
    image, label = _batch(data, context)
    pairs = _with_gradients(model.train(), F.cross_entropy(model(image), label))
    return torch.stack([(w * g).abs().sum() for w, g in pairs]).sum().detach()


@reduce(random=False)
def synflow(model: Module, data: Dataset, *, context: Context) -> Tensor:
    """The logarithm of ``Σ w · ∂R/∂w``, R the sum of outputs for an input of ones at absolute weights: a scalar (Tanaka et al., 2020).

    Over the parameters of two axes or more, without batch norm, whose statistics would hide the flow; in float64. Of ``data``,
    the shape of ``image`` alone is read.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    copy = model.double().eval()
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.abs_()
    ones = torch.ones_like(_batch(data, context)[0][:1], dtype=torch.float64)
    pairs = _with_gradients(copy, copy(ones).sum())
    return torch.stack([(w * g).sum() for w, g in pairs]).sum().clamp_min(1e-300).log().detach()


@reduce(random=False)
def naswot(model: Module, data: Dataset, *, context: Context) -> Tensor:
    """``log |det K|``, ``K`` [rows, rows] how many ReLU units two images of the batch share the state of: a scalar (Mellor et al., 2021).

    In float64, -inf where two images share all of them; ``data`` is one batch with ``image`` [rows, ...]. The model is in
    training mode.
    """
    image, _ = _batch(data, context)
    kernel = torch.zeros(len(image), len(image), dtype=torch.float64, device=image.device)

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        on = (output > 0).flatten(1).double()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.ReLU)]
    with torch.no_grad():
        model.train()(image)
    for handle in handles:
        handle.remove()
    return torch.linalg.slogdet(kernel).logabsdet


@reduce(random=False)
def grasp(model: Module, data: Dataset, *, context: Context) -> Tensor:
    """``Σ -w · H g`` over all weights, H the Hessian of the cross-entropy and g its gradient: a scalar (Wang, Zhang & Grosse, 2020).

    Over the parameters of two axes or more, H of these alone; ``data`` is one batch, ``image`` [rows, ...] and ``label`` [rows] (int64).
    The model is in training mode.
    """
    image, label = _batch(data, context)
    weights = [p for p in model.parameters() if p.dim() > 1]
    slopes = torch.autograd.grad(F.cross_entropy(model.train()(image), label), weights, create_graph=True)
    product = torch.stack([(slope.detach() * slope).sum() for slope in slopes]).sum()
    bent = torch.autograd.grad(product, weights)  # H g, the first g held fast
    return torch.stack([-(w * h).sum() for w, h in zip(weights, bent, strict=True)]).sum().detach()


@reduce(random=False)
def fisher(model: Module, data: Dataset, *, by_weight: bool = True, context: Context) -> Tensor:
    """``Σ ½ · mean over rows of (Σ a · ∂CE/∂a)²`` over the channels of all convolutions and linear maps: a scalar (Turner et al., 2020).

    The inner sum is over a channel's places; a is the output and CE the batch's mean cross-entropy. With ``by_weight`` a channel counts
    once for each weight that makes it, as in the reference implementation (Abdelfattah et al., 2021). ``data`` is one batch,
    ``image`` [rows, ...] and ``label`` [rows] (int64). The model is in training mode.
    """
    image, label = _batch(data, context)
    outputs: list[tuple[Tensor, int]] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        outputs.append((output, module.weight[0].numel() if by_weight else 1))

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    loss = F.cross_entropy(model.train()(image), label)
    for handle in handles:
        handle.remove()
    slopes = torch.autograd.grad(loss, [output for output, _ in outputs])
    found = [
        times * (output * slope).flatten(2).sum(2).square().mean(0).sum() / 2
        if output.dim() > 2
        else times * (output * slope).square().mean(0).sum() / 2
        for (output, times), slope in zip(outputs, slopes, strict=True)
    ]
    return torch.stack(found).sum().detach()


@reduce(random=False)
def jacob_cov(model: Module, data: Dataset, *, eps: Positive = 1e-5, context: Context) -> Tensor:
    """``-Σ log(v + eps) + 1/(v + eps)`` over the eigenvalues v of how rows' input gradients correlate: a scalar (Mellor et al., 2021, v1).

    The gradients are of the sum of a row's logits; their correlation matrix is [rows, rows], the identity where each row is told apart from
    all others in its own way, which is the best. In float64; of ``data``, one batch, ``image`` [rows, ...] is read. The model is in
    training mode.
    """
    image = _batch(data, context)[0].requires_grad_(True)
    (slopes,) = torch.autograd.grad(model.train()(image).sum(), image)
    values = torch.linalg.eigvalsh(torch.corrcoef(slopes.flatten(1).double()))
    return -((values + eps).log() + 1 / (values + eps)).sum()
