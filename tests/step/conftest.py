"""What tests of steps share."""

from __future__ import annotations

import pytest

from kdrun.step.supply import Supply


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Batches that frozen models were asked about, kept or not."""
    seen: list[int] = []
    asked_ = Supply.asked

    def counted(self, *given, **options):
        ask = asked_(self, *given, **options)
        return lambda *inputs: seen.append(len(inputs[0])) or ask(*inputs)

    monkeypatch.setattr(Supply, "asked", counted)
    return seen
