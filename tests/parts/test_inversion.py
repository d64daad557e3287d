"""Points pushed away from a decision boundary that only labels tell."""

from __future__ import annotations

import pytest
import torch

from kdrun.parts.generative_models import class_requests
from kdrun.parts.inversion import boundary_repulsion
from support.contexts import stage_context


class _Plane(torch.nn.Module):
    """Answers label 1 where the first coordinate is above 0."""

    def forward(self, point):
        return {"label": (point[:, 0] > 0).long()}


class _Itself(torch.nn.Module):
    def forward(self, latent, label):
        return latent


def repelled(folder, target: torch.nn.Module) -> dict[str, torch.Tensor]:
    data = class_requests(classes=2, per_class=20)
    generator = torch.Generator().manual_seed(0)
    return boundary_repulsion(
        _Itself(), target, data, latent=3, rounds=60, context=stage_context(folder), generator=generator
    )


def test_repulsion_moves_away_from_the_boundary(tmp_path) -> None:
    found = repelled(tmp_path, _Plane())
    signed = found["latent"][:, 0] * (2 * class_requests(classes=2, per_class=20).rows()["label"] - 1)
    assert (signed > 2).all(), "a whole sphere of the first radius lies in the class"
    assert set(found["style"].tolist()) == {0, 1}
    assert int(found["queries"]) >= 60 * 32 * 40


def test_repulsion_goes_on_from_its_checkpoint(tmp_path) -> None:
    class Breaking(_Plane):
        asked = 0

        def forward(self, point):
            self.asked += 1
            if self.asked == 40:
                raise KeyboardInterrupt
            return super().forward(point)

    whole = repelled(tmp_path / "whole", _Plane())
    with pytest.raises(KeyboardInterrupt):
        repelled(tmp_path / "broken", Breaking())
    counted = Breaking()
    counted.asked = 1000
    resumed = repelled(tmp_path / "broken", counted)
    assert counted.asked - 1000 < 60
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
