"""The page on Python shows what a reader would see: its examples run, in order, in an empty folder."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/library.md"


def test_what_the_readme_shows_runs(tmp_path, monkeypatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDRUN_STORE", str(tmp_path / "store"))
    (body,) = re.findall(
        r"^```python\n(experiment = .*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S
    )
    names: dict[str, object] = {}
    exec(f"import kdrun\n{body}", names)
    assert "result" in names


def test_the_examples_of_the_page_run(tmp_path, monkeypatch) -> None:
    pytest.importorskip("pandas")
    text = PAGE.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDRUN_STORE", str(tmp_path / "store"))
    for name, body in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.M | re.S):
        Path(name).write_text(body, encoding="utf-8")
    examples = "\n".join(re.findall(r"^```pycon\n(.*?)^```", text, re.M | re.S))
    test = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) >= 25
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.py", "store"}, "nothing else is written"
