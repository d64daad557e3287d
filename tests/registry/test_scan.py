"""What is kept of modules between two commands."""

from __future__ import annotations

import json

import pytest

from kdrun.errors import InputError
from kdrun.registry import scan


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scan, "_cache", None)
    monkeypatch.setattr(scan, "_dirty", False)
    return lambda: list((tmp_path / "cache" / "kdrun-index").glob("*.json"))


def test_a_module_is_read_again_when_it_changes_and_forgotten_when_it_is_gone(tmp_path, kept) -> None:
    first, second = (tmp_path / f"{name}.py" for name in ("first", "second"))
    for file in (first, second):
        file.write_text("def one() -> int:\n    return 1\n")
        assert list(scan.module_summary(file.stem, str(file))["definitions"]) == ["one"]
    scan.save_cache()
    (index,) = kept()
    assert set(json.loads(index.read_text())) == {str(first), str(second)}
    first.write_text("def another() -> int:\n    return 2\n")
    second.unlink()
    assert list(scan.module_summary(first.stem, str(first))["definitions"]) == ["another"]
    scan.save_cache()
    assert set(json.loads(index.read_text())) == {str(first)}


def test_each_installation_has_its_own_index(kept, monkeypatch, tmp_path) -> None:
    here = scan._cache_path()
    monkeypatch.setattr(scan, "__file__", str(tmp_path / "other" / "scan.py"))
    assert scan._cache_path() != here
    assert scan._cache_path().parent == here.parent


def test_what_a_part_says_of_itself_is_written_out(tmp_path, kept) -> None:
    file = tmp_path / "parts.py"
    file.write_text(
        "from kdrun.registry import op\n\nNAMES = ('a',)\n\n@op(fields=(*NAMES, 'b'))\ndef one() -> None: ...\n"
    )
    with pytest.raises(InputError, match=r"parts.py:5: .* write \"\(\*NAMES, 'b'\)\" out"):
        scan.module_summary("parts", str(file))
