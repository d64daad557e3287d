"""Matrices of flow between layers, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdrun import ops
from support.tensors import rows


def test_flow_matrices_after_pooling_in_loops() -> None:
    first, second = rows(2, 3, 4, 4), rows(2, 2, 2, 2, seed=1)
    other_first, other_second = rows(2, 3, 2, 2, seed=2), rows(2, 2, 2, 2, seed=3)

    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("chw,dhw->cd", a, b) / 4

    pooled = first.numpy().reshape(2, 3, 2, 2, 2, 2).max((3, 5))
    total = 0.0
    for i in range(2):
        difference = flow(pooled[i], second[i].numpy()) - flow(other_first[i].numpy(), other_second[i].numpy())
        total += np.linalg.norm(difference, axis=0).sum()
    value = ops.flow_matrix_loss(first, second, other_first, other_second).item()
    assert value == pytest.approx(total / 2)


def test_dense_flow_has_a_matrix_for_every_pair_of_standardised_maps() -> None:
    maps = [rows(2, c, 4 * s, 4 * s, seed=c) for c, s in ((2, 8), (3, 4), (4, 2), (5, 1), (6, 1), (7, 1))]
    maps.append(rows(2, 1, 4, 4, seed=8))
    flows = ops.dense_flow_matrices(*maps)
    assert len(flows) == 21
    assert [tuple(f.shape[1:]) for f in flows[:3]] == [(2, 3), (2, 4), (2, 5)]
    own = ops.dense_flow_matrices(maps[3], maps[3], pool_exponents=[], eps=0.0)[0]
    expected = np.corrcoef(maps[3][1].flatten(1).numpy())
    np.testing.assert_allclose(own[1], expected, atol=1e-9)
    first = ops.dense_flow_matrices(*maps, per_sample=False)
    torch.testing.assert_close(first[5], flows[5][0])
    assert ops.dense_flow_loss(flows, [f + 1 for f in flows]).item() == pytest.approx(sum(f.numel() for f in flows))
    with pytest.raises(ValueError, match="differ in size"):
        ops.dense_flow_matrices(*maps, pool_exponents=[1])


def test_dense_flow_pools_odd_sizes_upwards() -> None:
    assert ops.dense_flow_matrices(rows(1, 2, 5, 5), rows(1, 3, 3, 3), pool_exponents=[1])[0].shape == (1, 2, 3)
