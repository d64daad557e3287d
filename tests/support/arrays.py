"""Predictions in numpy, for comparisons with scipy."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr, softmax
from torch import Tensor

__all__ = ["kullback_leibler", "soft"]


def kullback_leibler(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The divergence of each row of ``p`` from that of ``q``."""
    return rel_entr(p, q).sum(-1)


def soft(logits: Tensor, temperature: float = 1.0) -> np.ndarray:
    """The probabilities of softened logits."""
    return softmax(logits.numpy() / temperature, axis=-1)
