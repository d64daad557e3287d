"""What language models are asked about sequences, and say of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdrun.ops.classification import cross_entropy
from kdrun.ops.language import accepted_answer, answer_accuracy, masked_tokens, sequence_log_likelihood, truth_ratio


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


def test_masked_tokens_are_asked_for_in_the_shares_of_the_source() -> None:
    tokens = torch.randint(0, 50, (400, 100), generator=torch.Generator().manual_seed(0))
    asked = masked_tokens(tokens, vocabulary=50, share=0.2, generator=torch.Generator().manual_seed(1))
    chosen, real = asked["target"] != -100, tokens >= 2
    assert torch.equal(asked["target"][chosen], tokens[chosen])
    assert torch.equal(asked["tokens"][~chosen], tokens[~chosen])
    assert not bool((chosen & ~real).any())
    assert (chosen.sum() / real.sum()).item() == pytest.approx(0.2, abs=0.01)
    now, before = asked["tokens"][chosen], tokens[chosen]
    assert (now == 1).double().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (now == before).double().mean().item() == pytest.approx(0.1 + 0.1 / 48, abs=0.01)
    assert int(now[now != 1].min()) >= 2
    none = masked_tokens(tokens, vocabulary=50, share=0.0, generator=torch.Generator())
    assert torch.equal(none["tokens"], tokens)
    assert bool((none["target"] == -100).all())


def test_an_answer_is_accepted_if_it_is_whole_one_of_the_ways() -> None:
    ways = torch.tensor([[[5, 1, -100], [6, 7, 1]]])
    for said, right in (([5, 1, 9], 1.0), ([6, 7, 1], 1.0), ([5, 7, 1], 0.0), ([6, 1, 0], 0.0)):
        assert accepted_answer(torch.tensor([said]), ways).item() == right
    nothing = torch.full((1, 2, 3), -100)
    assert accepted_answer(torch.tensor([[5, 1, 9]]), nothing).item() == 0.0
    with pytest.raises(ValueError, match="only 2 were written"):
        accepted_answer(torch.tensor([[5, 1]]), ways)
