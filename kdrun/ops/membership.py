"""Whether rows, and runs within rows, are among given ones."""

from __future__ import annotations

from torch import Tensor

from kdrun.registry import op

__all__ = ["contains_sequence", "is_row_of"]


@op
def is_row_of(rows: Tensor, table: Tensor) -> Tensor:
    """Which rows equal one of the table's: bool [batch].

    ``rows`` [batch, width], ``table`` [entries, width] (no entries: nothing is). Raises ``ValueError`` if the widths differ.

    >>> ops.is_row_of(torch.tensor([[1, 2], [2, 1]]), torch.tensor([[5, 5], [2, 1]]))
    tensor([False,  True])
    """
    if rows.ndim != 2 or table.ndim != 2 or rows.shape[1] != table.shape[1]:
        raise ValueError(f"rows and table need one width, got {list(rows.shape)} and {list(table.shape)}")
    return (rows[:, None] == table).all(2).any(1)


@op
def contains_sequence(tokens: Tensor, sequences: Tensor) -> Tensor:
    """Which rows hold one of the sequences, without a gap and in order: bool [batch].

    ``tokens`` [batch, length], ``sequences`` [entries, width]; a filter of what is said to a language model. What is longer than
    the rows is in none. Raises ``ValueError`` unless both are matrices.

    >>> ops.contains_sequence(torch.tensor([[7, 1, 2, 9], [1, 7, 2, 9]]), torch.tensor([[1, 2], [2, 7]]))
    tensor([ True, False])
    """
    if tokens.ndim != 2 or sequences.ndim != 2:
        raise ValueError(f"tokens and sequences are matrices, got {list(tokens.shape)} and {list(sequences.shape)}")
    width = sequences.shape[1]
    if width > tokens.shape[1]:
        return tokens.new_zeros(len(tokens)).bool()
    runs = tokens.unfold(1, width, 1)
    return (runs[:, :, None] == sequences).all(3).any(2).any(1)
