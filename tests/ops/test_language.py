"""What language models say of sequences."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from kdrun.ops.classification import cross_entropy
from kdrun.ops.language import answer_accuracy, sequence_log_likelihood, truth_ratio


def test_likelihoods_of_sequences_are_those_of_their_tokens() -> None:
    logits, targets = torch.randn(3, 4, 7), torch.randint(7, (3, 4))
    targets[0, :2] = targets[1, 1:] = -100
    total = sequence_log_likelihood(logits, targets, reduction="sum")
    assert torch.allclose(total.sum(), -cross_entropy(logits, targets, reduction="sum"))
    counts = torch.tensor([2.0, 1.0, 4.0])
    assert torch.allclose(sequence_log_likelihood(logits, targets), total / counts)
    assert sequence_log_likelihood(logits, torch.full((3, 4), -100)).tolist() == [0.0] * 3
    assert torch.allclose(sequence_log_likelihood(logits + 5.0, targets, reduction="sum"), total, atol=1e-5)


def test_an_answer_is_right_where_all_its_tokens_are() -> None:
    targets = torch.tensor([[-100, 1, 2], [0, 1, -100], [-100, -100, 3]])
    said = torch.tensor([[3, 1, 2], [0, 2, 2], [0, 0, 0]])
    logits = F.one_hot(said, 4).float()
    assert answer_accuracy(logits, targets).tolist() == [1.0, 0.0, 0.0]
    assert answer_accuracy(logits, targets, whole=False).tolist() == [1.0, 0.5, 0.0]


def test_truth_ratio_is_wrong_over_right() -> None:
    right = torch.tensor([0.5, 0.1]).log()
    wrong = torch.tensor([[0.1, 0.3], [0.1, 0.1]]).log()
    assert torch.allclose(truth_ratio(right, wrong), torch.tensor([0.4, 1.0]))
