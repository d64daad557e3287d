"""docs/reference is what the registry says now, the same on every machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kdrun.registry import Catalog

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def reference() -> object:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import write_reference
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return write_reference


def test_the_committed_pages_are_what_the_script_writes(reference) -> None:
    committed = {p.relative_to(FOLDER).as_posix(): p.read_text(encoding="utf-8") for p in FOLDER.rglob("*.md")}
    wanted = reference.pages()
    stale = sorted(name for name in {*committed, *wanted} if committed.get(name) != wanted.get(name))
    assert not stale, "run python scripts/write_docs.py"


def test_every_part_has_an_entry_and_a_link_in_the_index(reference) -> None:
    pages = reference.pages()
    for part in Catalog(()):
        page = f"op/{part.module.rpartition('.')[2]}.md" if part.kind == "op" else f"{part.kind}.md"
        assert f"# {part.name}\n" in pages[page], part.name
        assert f"]({page}#{part.name})" in pages["README.md"], part.name


def test_every_kind_has_a_title(reference) -> None:
    assert {part.kind for part in Catalog(())} <= set(reference.KINDS)


def test_pages_name_no_place_of_this_machine(reference) -> None:
    for name, text in reference.pages().items():
        assert str(ROOT) not in text, name
        assert str(Path.home()) not in text, name


def test_examples_and_blocks_are_fenced_and_markup_is_escaped(reference) -> None:
    doc = "The mean of ``a_b`` * 2 over <rows>.\n\n    loss = x\n\n>>> f(1)\n2\n"
    assert list(reference.prose(doc)) == [
        *("The mean of `a_b` \\* 2 over &lt;rows>.", ""),
        *("```text", "loss = x", "```", ""),
        *("```python", ">>> f(1)", "2", "```", ""),
    ]
