"""Operations counted by hand: two for each multiplication with its addition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.runtime.fakes import on_fakes
from kdrun.step.flops import flop_counter


def counted(forward: Callable[..., Tensor], *shapes: tuple[int, ...], backward: bool = True) -> int:
    with on_fakes(), flop_counter() as counter:
        found = forward(*(torch.randn(shape, requires_grad=backward) for shape in shapes))
        if backward:
            found.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("inputs", [True, False])
def test_a_convolution_in_groups_forward_and_backward(groups, inputs) -> None:
    def forward(x: Tensor) -> Tensor:
        return nn.Conv2d(8, 16, 3, padding=1, groups=groups)(x if inputs else x.detach())

    once = 2 * (2 * 6 * 6) * 16 * (8 // groups) * 9  # rows and places, channels out, channels in of a group, kernel
    assert counted(forward, (2, 8, 6, 6)) == once * (3 if inputs else 2)  # and the gradients of weight and input
    assert counted(forward, (2, 8, 6, 6), backward=False) == once


def test_a_transposed_convolution_in_groups() -> None:
    once = 2 * (2 * 5) * 8 * (12 // 4) * 3
    assert counted(lambda x: nn.ConvTranspose1d(8, 12, 3, groups=4)(x), (2, 8, 5)) == 3 * once


def test_fused_attention_forward_and_backward() -> None:
    query, key, value = (2, 4, 10, 8), (2, 4, 12, 8), (2, 4, 12, 8)
    product = 2 * (2 * 4) * 10 * 12 * 8  # queries with keys; probabilities with values cost the same
    assert counted(F.scaled_dot_product_attention, query, key, value, backward=False) == 2 * product
    backward = 5 * product  # the fused kernel computes queries with keys again, and then four gradients
    assert counted(F.scaled_dot_product_attention, query, key, value) == 2 * product + backward


@pytest.mark.parametrize("directions", [1, 2])
def test_an_lstm_forward_and_backward(directions) -> None:
    def forward(x: Tensor) -> Tensor:
        return nn.LSTM(5, 7, num_layers=2, batch_first=True, bidirectional=directions == 2)(x)[0]

    first, second = 4 * 7 * (5 + 7), 4 * 7 * (7 * directions + 7)  # four gates read the input and the state
    once = 2 * (2 * 3) * directions * (first + second)
    assert counted(forward, (2, 3, 5)) == 3 * once
    assert counted(forward, (2, 3, 5), backward=False) == once


def test_frozen_transformers_count_like_trained_ones() -> None:
    """In eval mode without gradients, torch runs attention, and whole layers, as single operators."""
    layer = 2 * (2 * 10) * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 2 * 2 * 10 * 10 * 16

    def of(train: bool) -> int:
        def forward(x: Tensor) -> Tensor:
            encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
            return encoder.train(train).requires_grad_(train)(x)

        return counted(forward, (2, 10, 16), backward=False)

    assert of(True) == of(False) == layer

    def attend(x: Tensor) -> Tensor:
        module = nn.MultiheadAttention(16, 2, batch_first=True).eval().requires_grad_(False)
        return module(x, x, x, need_weights=False)[0]

    assert counted(attend, (2, 10, 16), backward=False) == layer - 2 * (2 * 10) * 2 * 16 * 32
