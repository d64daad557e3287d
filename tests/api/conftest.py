"""One small run that the tests of the library share."""

from __future__ import annotations

from pathlib import Path

import pytest

import kdrun
from kdrun.api.finished import Run


@pytest.fixture(scope="package")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="package")
def finished(shared_store: Path) -> Run:
    """Distillation at its smallest: one epoch on a few rows."""
    return kdrun.run("kd", arm="kd", scale="smoke", store=shared_store)
