"""Folders of records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kdrun.engine.records import new_run_folder
from kdrun.errors import StoreError


def test_runs_that_begin_at_once_get_folders_of_their_own_in_order(tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_folder(tmp_path / "kd", "seed0"), range(50)))
    assert len(set(made)) == 50
    assert all(path.is_dir() for path in made)
    later = [new_run_folder(tmp_path / "kd", "seed0") for _ in range(5)]
    assert later == sorted(later)
    assert later[0] > max(made)


def test_a_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "kd").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write .*kd.*; set runs=FOLDER"):
        new_run_folder(tmp_path / "kd", "seed0")
