"""What holds of our parts."""

from __future__ import annotations

import kdrun
import pytest
import torch
from parts import MyNetwork, centred_logit_distance


def test_the_distance_is_that_of_logits_without_their_mean() -> None:
    logits = torch.tensor([[1.0, 2.0, 6.0]])
    assert centred_logit_distance(logits, logits + 5.0).item() == pytest.approx(0.0)
    assert centred_logit_distance(logits, torch.tensor([[3.0, 2.0, 4.0]])).item() == pytest.approx(8.0)


def test_the_network_gives_a_logit_a_class() -> None:
    network = MyNetwork(channels=[4, 8], num_classes=3, in_channels=1)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize("arm", ["my_method", "kd", "scratch"])
def test_the_study_checks(arm: str) -> None:
    kdrun.compose("my_study", arm=arm, plugins=["parts.py"]).check()
