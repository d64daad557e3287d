"""The documents as a site: built strictly, and pages that fetch nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|use)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon|prefetch))[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|@import\s+[^;]*|url\([\"']?(?:https?:)?//[^)]*\)"
)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts/site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["site_hooks"] = module
    spec.loader.exec_module(module)
    return module


def test_a_flowchart_is_drawn_with_every_box_and_arrow(hooks) -> None:
    text = (
        'flowchart TD\n  subgraph top [Top & more]\n    a["one<br/>first"]\n    b["two"]\n    a --> b\n  end\n'
        '  subgraph low [Low]\n    c["three"]\n  end\n  b --> c\n'
    )
    svg = ElementTree.fromstring(hooks.drawing(text))
    space = "{http://www.w3.org/2000/svg}"
    assert [t.text for t in svg.iter(f"{space}text")] == ["Top & more", "Low", "one", "first", "two", "three"]
    boxes = {b.get("y") for b in svg.iter(f"{space}rect") if b.get("class") == "box"}
    assert len(boxes) == 3  # b stands below a, c in the next band
    assert len([p for p in svg.iter(f"{space}path") if p.get("class") == "arrow"]) == 2


def test_every_flowchart_of_the_documents_is_drawn_whole(hooks) -> None:
    charts = [
        c for page in (ROOT / "docs").rglob("*.md") for c in hooks.FENCE.findall(page.read_text(encoding="utf-8"))
    ]
    assert charts
    for text in charts:
        chart = hooks.Chart.of(text)
        assert {name for edge in chart.edges for name in edge} <= set(chart.labels)
        assert hooks.drawing(text).count('class="box"') == len(chart.labels)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path) -> None:
    pytest.importorskip("material", reason="pip install 'kdrun[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # the theme announces its end of life on every build
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    assert {"index.html", "architecture.html", "contributing.html", "reference/op/divergences.html"} <= set(pages)
    for path in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]:
        assert not (found := FETCHED.search(path.read_text(encoding="utf-8"))), f"{path}: {found}"
    # the theme's own script would load Mermaid for these
    assert not [name for name, text in pages.items() if re.search(r"class=[\"']?[^\"'>]*\bmermaid\b", text)]
