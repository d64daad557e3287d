"""Generated pages are what methods, recipes and the registry say now, the same on every machine."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kdrun.registry import Catalog

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """The scripts, importable."""
    sys.path.insert(0, str(ROOT / "scripts"))
    yield
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def docs(scripts) -> ModuleType:
    return importlib.import_module("write_docs")


@pytest.fixture(scope="module")
def reference(scripts) -> ModuleType:
    return importlib.import_module("write_reference")


def test_the_committed_pages_are_what_the_script_writes(docs) -> None:
    wanted = docs.pages()
    there = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in docs.committed()}
    stale = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    assert not stale, "run make docs"


def test_every_part_has_an_entry_and_a_link_in_the_index(reference) -> None:
    pages = reference.pages()
    for part in Catalog(()):
        page = f"op/{part.module.rpartition('.')[2]}.md" if part.kind == "op" else f"{part.kind}.md"
        assert f"# {part.name}\n" in pages[page], part.name
        assert f"]({page}#{part.name})" in pages["README.md"], part.name


def test_every_kind_has_a_title(reference) -> None:
    assert {part.kind for part in Catalog(())} <= set(reference.KINDS)


def test_pages_name_no_place_of_this_machine(docs) -> None:
    for name, text in docs.pages().items():
        assert str(ROOT) not in text, name
        assert str(Path.home()) not in text, name


def test_examples_and_blocks_are_fenced_and_markup_is_escaped(reference) -> None:
    doc = "The mean of ``a_b`` * 2 over <rows>.\n\n    loss = x\n\n>>> f(1)\n2\n"
    assert list(reference.prose(doc)) == [
        *("The mean of `a_b` \\* 2 over &lt;rows>.", ""),
        *("```text", "loss = x", "```", ""),
        *("```python", ">>> f(1)", "2", "```", ""),
    ]
