"""What is frozen rests with its statistics; modes of a moment are given back."""

from __future__ import annotations

import pytest
from torch import nn

from kdrun.models.modes import in_mode, rest_frozen_statistics


def network() -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    return nn.Sequential(body, nn.Flatten(), plain, nn.Linear(2, 3))


def resting(module: nn.Module) -> list[str]:
    return [name for name, inner in module.named_modules() if not inner.training]


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [([], []), ([0], ["0.1"]), ([2], ["2.1"]), ([0, 2], ["0.1", "2.1"]), ([3], [])],
)
def test_statistics_of_frozen_parts_rest_and_their_dropout_does_not(frozen, expected) -> None:
    module = network().train()
    for place in frozen:
        module[place].requires_grad_(False)
    rest_frozen_statistics(module)
    assert resting(module) == expected


def test_a_mode_of_a_moment_gives_each_part_its_own_back() -> None:
    module = network().train()
    module[0].eval()
    before = resting(module)
    with in_mode([module], True):
        assert resting(module) == []
    assert resting(module) == before
