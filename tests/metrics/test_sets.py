"""The distance between sets of states: GOSPA and its parts."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.metrics.sets import gospa

THERE = torch.ones(1, 2, dtype=torch.bool)


def test_gospa_of_equal_missing_false_and_far() -> None:
    targets = torch.tensor([[[0.0, 0.0], [10.0, 0.0]]])
    sure = torch.tensor([[[0.0, 0.0, 1.0], [10.0, 0.5, 1.0]]])
    assert gospa(sure, targets, THERE) == {"total": 0.5, "localization": 0.5, "missed": 0.0, "false": 0.0}
    assert gospa(sure, targets, THERE, at=1.0) == {"total": 2.0, "localization": 0.0, "missed": 2.0, "false": 0.0}
    assert gospa(sure, targets, THERE & False) == {"total": 2.0, "localization": 0.0, "missed": 0.0, "false": 2.0}
    far = torch.tensor([[[0.0, 5.0, 0.4], [10.0, 0.5, 0.8]]])
    assert gospa(far, targets, THERE, torch.tensor(0.3)) == {
        "total": 2.5,
        "localization": 0.5,
        "missed": 1.0,
        "false": 1.0,
    }
    assert gospa(far, targets, THERE)["total"] == 1.5
    assert gospa(far, targets, THERE, at=0.3, order=2.0)["total"] == pytest.approx(math.sqrt(4 + 0.25))
    with pytest.raises(InputError, match="do not fit"):
        gospa(targets, targets, THERE)


def test_gospa_is_symmetric_and_its_parts_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(40, 4, 2, generator=generator) for _ in range(2))
    some, others = (torch.rand(40, 4, generator=generator) < 0.6 for _ in range(2))
    there = gospa(torch.cat([first, some[..., None].float()], 2), second, others)
    back = gospa(torch.cat([second, others[..., None].float()], 2), first, some)
    assert there["total"] == pytest.approx(back["total"])
    assert there["missed"] == pytest.approx(back["false"])
    assert there["total"] == pytest.approx(there["localization"] + there["missed"] + there["false"])
