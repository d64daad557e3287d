"""What language models are asked about whole sequences, and say of them: hidden tokens, likelihoods and answers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["accepted_answer", "answer_accuracy", "masked_tokens", "sequence_log_likelihood", "truth_ratio"]


@op
def sequence_log_likelihood(
    logits: Tensor, targets: Tensor, *, reduction: Literal["mean", "sum"] = "mean", ignore_index: int = -100
) -> Tensor:
    """Log-likelihood of each sequence in nats, the mean or sum over its tokens that count: [batch], not above 0.

    ``logits`` [batch, length, vocabulary], ``targets`` [batch, length] (int64), the token after each position or
    ``ignore_index``. A sequence without a token that counts has 0.

    >>> logits, targets = torch.zeros(1, 3, 4), torch.tensor([[2, 0, -100]])
    >>> ops.sequence_log_likelihood(logits, targets)  # -ln 4 a token
    tensor([-1.3863])
    >>> ops.sequence_log_likelihood(logits, targets, reduction="sum")
    tensor([-2.7726])
    """
    counted = targets != ignore_index
    chosen = targets.where(counted, 0).unsqueeze(-1)
    tokens = logits.gather(-1, chosen).squeeze(-1) - logits.logsumexp(-1)
    total = tokens.where(counted, 0.0).sum(-1)
    return total / counted.sum(-1).clamp_min(1) if reduction == "mean" else total


@op
def answer_accuracy(logits: Tensor, targets: Tensor, *, whole: bool = True, ignore_index: int = -100) -> Tensor:
    """Whether the likeliest tokens are all those of the answer, given those before: [batch], 1.0 or 0.0.

    ``logits`` [batch, length, vocabulary], ``targets`` [batch, length] (int64, ``ignore_index`` outside the answer).
    With ``whole: false``, the share of the answer's tokens that are.

    >>> logits = torch.nn.functional.one_hot(torch.tensor([[1, 2, 0]]), 3).float()  # says 1, 2, 0
    >>> targets = torch.tensor([[1, 0, -100]])
    >>> ops.answer_accuracy(logits, targets), ops.answer_accuracy(logits, targets, whole=False)
    (tensor([0.]), tensor([0.5000]))
    """
    counted = targets != ignore_index
    right = ((logits.argmax(-1) == targets) & counted).sum(-1)
    if whole:
        return (right == counted.sum(-1)).float()
    return right / counted.sum(-1).clamp_min(1)


@op
def accepted_answer(generated: Tensor, accepted: Tensor, *, padding: int = -100) -> Tensor:
    """Whether a written answer is one of those that are right: [batch], 1.0 or 0.0.

    ``generated`` [batch, length] and ``accepted`` [batch, ways, up to length] (int64), the latter padded on the right by ``padding``.
    The first tokens written must be all those of one way, its stop included if it has one; a way that is only padding is none.
    Raises ``ValueError`` if ways are longer than what was written.

    >>> ways = torch.tensor([[[5, 1, -100], [6, 7, 1]]])
    >>> [ops.accepted_answer(torch.tensor([said]), ways).item() for said in ([6, 7, 1], [5, 1, 0], [6, 1, 0])]
    [1.0, 1.0, 0.0]
    """
    length = accepted.shape[2]
    if generated.shape[1] < length:
        raise ValueError(f"ways have up to {length} tokens, but only {generated.shape[1]} were written")
    told = accepted != padding
    same = (generated[:, None, :length] == accepted) | ~told
    return (same.all(2) & told.any(2)).any(1).float()


@op
def truth_ratio(right: Tensor, wrong: Tensor) -> Tensor:
    """Mean probability of wrong answers over that of the right one, a token's (Maini et al., 2024): [batch].

    ``mean exp(wrong - right)``. ``right`` [batch] and ``wrong`` [batch, answers], mean log-likelihoods of a token in
    nats. 0 where only the right answer is likely, 1 where the model knows no difference.

    >>> ops.truth_ratio(torch.tensor([-1.0, -1.0]), torch.tensor([[-1.0, -1.0], [-3.0, -3.0]]))
    tensor([1.0000, 0.1353])
    """
    return wrong.sub(right.unsqueeze(1)).exp().mean(1)


@op
def masked_tokens(
    tokens: Tensor,
    *,
    vocabulary: Count,
    mask: Unsigned = 1,
    share: Fraction = 0.15,
    special: Unsigned = 2,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Tokens of which a random ``share`` is to be told from the others, as in masked language modelling (Devlin et al., 2019).

    Of these, eight in ten become the id ``mask``, one in ten a random id from ``special`` up to ``vocabulary``, and one stays. Ids below
    ``special`` are never chosen. Gives ``tokens`` and the ``target`` [batch, length] (int64; -100 where nothing is asked) of
    ``tokens`` [batch, length].

    >>> asked = ops.masked_tokens(torch.tensor([[5, 0, 7]]), vocabulary=9, share=1.0, generator=torch.Generator().manual_seed(0))
    >>> asked["target"]
    tensor([[   5, -100,    7]])
    """
    draw, kind = (
        torch.rand(tokens.shape, generator=generator, device=generator.device).to(tokens.device) for _ in "ab"
    )
    other = torch.randint(special, vocabulary, tokens.shape, generator=generator, device=generator.device)
    chosen = (draw < share) & (tokens >= special)
    hidden = tokens.masked_fill(chosen & (kind < 0.8), mask)
    hidden = torch.where(chosen & (kind >= 0.9), other.to(tokens.device), hidden)
    return {"tokens": hidden, "target": tokens.masked_fill(~chosen, -100)}
