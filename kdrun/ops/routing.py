"""Routers in mixtures of experts: losses on their decisions, and the experts that are left. No function detaches its inputs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.checks import require_rows
from kdrun.ops.indexing import indicator
from kdrun.registry import op

__all__ = ["exclude_expert", "load_balance_loss", "router_z_loss"]


@op
def load_balance_loss(gates: Tensor, *, over: Literal["batch", "row"] = "batch") -> Tensor:
    """How unevenly experts are used, from full gates [batch, experts] whose rows sum to 1: a scalar.

    Over a ``batch``, ``E · Σ_e f_e P_e`` with the share f of rows whose largest gate is e and the mean gate P (Fedus et
    al., 2022): 1 if even, at most E. Over each ``row`` by itself, without the factor E, it is the row's largest gate;
    the mean over rows is returned, which asks for indecision rather than for balance. No gradient through f. Raises
    ``ValueError`` for other than rows.

    >>> ops.load_balance_loss(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), ops.load_balance_loss(torch.tensor([[1.0, 0.0]]))
    (tensor(1.), tensor(2.))
    """
    require_rows(gates)
    chosen = indicator(gates.argmax(1), gates.shape[1]).to(gates.dtype)
    if over == "row":
        return (gates * chosen).sum(1).mean()
    return gates.shape[1] * (chosen.mean(0) * gates.mean(0)).sum()


@op
def router_z_loss(logits: Tensor) -> Tensor:
    """Mean over rows of ``logsumexp(logits)²``: keeps router logits small (Zoph et al., 2022): a scalar (float32).

    ``logits`` [batch, experts]. Raises ``ValueError`` for other than rows.

    >>> ops.router_z_loss(torch.tensor([[0.0, -99.0]])), ops.router_z_loss(torch.tensor([[3.0, -99.0]]))
    (tensor(0.), tensor(9.))
    """
    require_rows(logits)
    return logits.float().logsumexp(1).square().mean()


@op
def exclude_expert(tokens: Tensor, own: Tensor) -> Tensor:
    """Tokens without each row's own expert: [batch, experts - 1, dim] of [batch, experts, dim], in order.

    ``own`` [batch] (int64) is the expert that a row leaves out. Raises ``RuntimeError`` (torch's own) for one that is not there.

    >>> tokens = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    >>> ops.exclude_expert(tokens, torch.tensor([0, 2])).squeeze(-1)
    tensor([[2., 3.],
            [4., 5.]])
    """
    rows, experts, dim = tokens.shape
    kept = torch.ones(rows, experts, dtype=torch.bool, device=tokens.device).scatter(1, own[:, None], False)
    place = torch.where(kept, torch.arange(experts, device=tokens.device), experts).sort(1).values[:, :-1]
    return tokens.gather(1, place[..., None].expand(rows, experts - 1, dim))
