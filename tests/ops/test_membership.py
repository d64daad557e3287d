"""Rows and sequences among given ones, against plain loops."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops


def test_against_loops_over_random_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, (200, 7), generator=generator)
    table = torch.randint(3, (4, 3), generator=generator)
    listed = [tuple(entry) for entry in table.tolist()]
    held = [any(tuple(row[i : i + 3]) in listed for i in range(5)) for row in tokens.tolist()]
    assert ops.contains_sequence(tokens, table).tolist() == held
    assert 0 < sum(held) < 200
    assert ops.is_row_of(tokens[:, :3], table).tolist() == [tuple(row[:3]) in listed for row in tokens.tolist()]


def test_gaps_other_orders_and_longer_sequences_do_not_count() -> None:
    tokens = torch.tensor([[1, 9, 2, 3], [3, 2, 1, 0]])
    assert not ops.contains_sequence(tokens, torch.tensor([[1, 2, 3]])).any()
    assert not ops.contains_sequence(tokens, torch.tensor([[1, 9, 2, 3, 4]])).any()
    assert not ops.contains_sequence(tokens, torch.empty(0, 2, dtype=torch.int64)).any()
    assert not ops.is_row_of(tokens, torch.empty(0, 4, dtype=torch.int64)).any()


def test_widths_have_to_agree() -> None:
    with pytest.raises(ValueError, match="need one width"):
        ops.is_row_of(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="are matrices"):
        ops.contains_sequence(torch.zeros(2), torch.zeros(2, 2))
