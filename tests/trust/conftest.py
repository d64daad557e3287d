"""The process in which hostile inputs are tried, once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.hostile import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """A process that has imported kdrun and forks for each input."""
    started = Zygote(tmp_path_factory.mktemp("zygote"))
    yield started
    started.close()
