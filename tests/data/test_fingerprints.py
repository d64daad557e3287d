"""What keys know of files."""

from __future__ import annotations

import os
import shutil

import pytest

from kdrun.data.fingerprints import fingerprint_of, share_of


def test_a_fingerprint_tells_of_sizes_times_places_and_files_that_come(tmp_path) -> None:
    root = tmp_path / "here"
    (root / "train").mkdir(parents=True)
    paths = [root / "train" / "a.txt", root / "b.txt"]
    paths[0].write_text("one")
    os.utime(paths[0], ns=(5, 5))
    first = fingerprint_of(paths, root)
    shutil.copytree(root, tmp_path / "there")
    assert fingerprint_of([tmp_path / "there/train/a.txt", tmp_path / "there/b.txt"], tmp_path / "there") == first
    seen = {first, fingerprint_of(paths[:1], root), fingerprint_of(paths[::-1], root)}
    os.utime(paths[0], ns=(6, 6))
    seen.add(fingerprint_of(paths, root))
    paths[1].write_text("two")
    seen.add(fingerprint_of(paths, root))
    assert len(seen) == 5


def test_shares_of_names_are_even_and_lasting() -> None:
    shares = [share_of(f"{i}.png") for i in range(4000)]
    assert shares[:3] == [share_of(f"{i}.png") for i in range(3)]
    assert 0 <= min(shares) < max(shares) < 1
    assert sum(s < 0.1 for s in shares) / len(shares) == pytest.approx(0.1, abs=0.02)
