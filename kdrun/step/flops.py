"""Floating point operations of what torch's counter miscounts or passes over.

The counter calls a formula with the arguments of the operator, each tensor replaced by its shape. Its conventions hold: a
multiplication with its addition is two operations, additions of biases and softmaxes are none, a causal mask saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    conv_flop_count,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

__all__ = ["flop_counter"]

Shape = Sequence[int]


def flop_counter() -> FlopCounterMode:
    """A mode that counts, while it is entered, the operations of a forward and of its backward."""
    return FlopCounterMode(display=False, custom_mapping=dict(FORMULAS))


def _convolution_backward(
    gradient: Shape,
    inputs: Shape,
    weight: Shape,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """Each gradient, of the input and of the weight, meets the same pairs of numbers as the forward, in groups or not."""
    return sum(wanted[:2]) * conv_flop_count(list(inputs), list(weight), list(gradient), transposed=transposed)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _self_attention(query: Shape, key: Shape, _value: Shape, width: int, heads: int, *weights: Any, **_: Any) -> int:
    """``[batch, length, width]`` through its projections, among them those of queries, keys and values, and attention."""
    to_heads, _, back = weights[:3]
    split = [[shape[0], heads, shape[1], width // heads] for shape in (query, key)]
    return 2 * prod(query[:-1]) * (prod(to_heads) + prod(back)) + sdpa_flop_count(split[0], split[1], split[1])


def _encoder_layer(tokens: Shape, width: int, heads: int, *weights: Any, **_: Any) -> int:
    """Self-attention and the two linear layers behind it."""
    attention = _self_attention(tokens, tokens, tokens, width, heads, *weights[:4])
    widened, narrowed = weights[FIRST_LINEAR], weights[FIRST_LINEAR + 2]
    return attention + 2 * prod(tokens[:-1]) * (prod(widened) + prod(narrowed))


FIRST_LINEAR = 11
"""Where the first linear layer's weight stands among an encoder layer's arguments, counted from those of attention."""


def _recurrent(inputs: Shape, from_input: Shape, from_state: Shape, *_: Any, **__: Any) -> int:
    """One layer in one direction: every step reads the input [length, batch, features] and the state."""
    return 2 * prod(inputs[:-1]) * (prod(from_input) + prod(from_state))


def _recurrent_backward(*arguments: Any, **options: Any) -> int:
    """The gradients of inputs and states, and those of the weights."""
    return 2 * _recurrent(*arguments, **options)


FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten._native_multi_head_attention: _self_attention,
    torch.ops.aten._transformer_encoder_layer_fwd: _encoder_layer,
    torch.ops.aten.mkldnn_rnn_layer: _recurrent,
    torch.ops.aten.mkldnn_rnn_layer_backward: _recurrent_backward,
}
