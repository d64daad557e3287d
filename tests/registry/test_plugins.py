"""Plug-ins in a process that lives on: each block has its own, and an edited file counts as it is now."""

from __future__ import annotations

import os

import pytest

from kdrun.errors import InputError
from kdrun.registry import catalog, catalog_with

SOURCE = '''from kdrun.registry import op
@op
def plugin_constant(x):
    """A number."""
    return {value}
'''


def written(folder, value: int) -> str:
    path = folder / "mine.py"
    path.write_text(SOURCE.format(value=value))
    return str(path)


def test_parts_of_a_plugin_are_known_inside_its_block_alone(tmp_path) -> None:
    plugin = written(tmp_path, 1)
    with catalog_with([plugin]) as found:
        assert catalog() is found
        assert catalog().get("op", "plugin_constant").load()(None) == 1
        with catalog_with(()):
            assert catalog().find("op", "plugin_constant") is None
        assert catalog() is found
    assert catalog().find("op", "plugin_constant") is None


def test_an_edited_plugin_is_read_and_imported_again_even_within_a_second_and_of_the_same_size(tmp_path) -> None:
    said, digests = [], set()
    for value in (1, 2, 3):
        plugin = written(tmp_path, value)
        os.utime(plugin, ns=(10**18 + value, 10**18 + value))
        with catalog_with([plugin]) as found:
            said.append(found.get("op", "plugin_constant").load()(None))
            digests.add(found.digest("op", "plugin_constant"))
    assert said == [1, 2, 3]
    assert len(digests) == 3


def test_a_plugin_edited_between_reading_and_use_is_refused(tmp_path) -> None:
    plugin = written(tmp_path, 1)
    with catalog_with([plugin]) as found:
        written(tmp_path, 22)
        with pytest.raises(InputError, match=r"mine\.py was changed while it was in use"):
            found.get("op", "plugin_constant").load()


USER = '''{imports}
from kdrun.registry import op
@op
def plugin_scaled(x):
    """A product."""
    return {call}
'''
WAYS = {
    "from helper import scale": "scale(x)",
    "from .helper import scale": "scale(x)",
    "from . import helper": "helper.scale(x)",
    "import helper": "helper.scale(x)",
    "import helper as h": "getattr(h, 'sc' + 'ale')(x)",
    "import lib.factors": "lib.factors.scale(x)",
    "from lib import factors": "factors.scale(x)",
    "from lib.factors import *": "scale(x)",
    "import math": "__import__('math').floor(1) and lazily(x)\ndef lazily(x):\n    from helper import scale\n    return scale(x)",
}
HELPER = "{imports}\ndef scale(x):\n    return x * {value}\ndef unused(x):\n    return x + {other}\n"


def written_apart(folder, imports: str, call: str, value: object, other: int = 0) -> str:
    """A plug-in whose numbers come from a module beside it, or from one within a package beside it."""
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    (folder / "lib" / "__init__.py").touch()
    for path in (folder / "helper.py", folder / "lib" / "factors.py"):
        path.write_text(HELPER.format(imports="", value=value, other=other))
    (folder / "mine.py").write_text(USER.format(imports=imports, call=call))
    return str(folder / "mine.py")


@pytest.mark.parametrize("imports", WAYS)
def test_what_a_plugin_imports_from_beside_itself_counts_and_is_read_anew(tmp_path, imports) -> None:
    said, digests = [], []
    for value in (3, 5, 3):
        with catalog_with([written_apart(tmp_path, imports, WAYS[imports], value)]) as found:
            digests.append(found.digest("op", "plugin_scaled"))
            said.append(found.get("op", "plugin_scaled").load()(2))
    assert said == [6, 10, 6]
    assert digests[0] == digests[2] != digests[1]


def test_two_plugins_have_each_their_own_helper(tmp_path) -> None:
    one = written_apart(tmp_path / "one", "import helper", "helper.scale(x)", 3)
    other = written_apart(tmp_path / "other", "import helper", "helper.scale(x)", 5)
    with catalog_with([one]) as found:
        first = found.get("op", "plugin_scaled").load()
    with catalog_with([other]) as found:
        assert found.get("op", "plugin_scaled").load()(2) == 10
    assert first(2) == 6


def test_a_definition_of_a_helper_that_nothing_reaches_changes_no_digest(tmp_path) -> None:
    digests = set()
    for other in (0, 1):
        with catalog_with([written_apart(tmp_path, "from helper import scale", "scale(x)", 3, other)]) as found:
            digests.add(found.digest("op", "plugin_scaled"))
    assert len(digests) == 1


def test_a_helper_of_a_helper_counts_and_an_installed_library_does_not(tmp_path, monkeypatch) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    monkeypatch.syspath_prepend(str(installed))
    digests = []
    for near, far in ((2, 2), (3, 2), (3, 4)):
        (installed / "some_library.py").write_text(f"FACTOR = {far}\n")
        (tmp_path / "constants.py").write_text(f"from some_library import FACTOR\nNEAR = {near}\n")
        plugin = written_apart(tmp_path, "from helper import scale", "scale(x)", "NEAR * FACTOR")
        helper = HELPER.format(imports="from constants import NEAR, FACTOR", value="NEAR * FACTOR", other=0)
        (tmp_path / "helper.py").write_text(helper)
        with catalog_with([plugin]) as found:
            digests.append(found.digest("op", "plugin_scaled"))
            assert found.get("op", "plugin_scaled").load()(1) == near * 2
    assert digests[0] != digests[1] == digests[2]


@pytest.mark.parametrize(("name", "inside"), [("package_one", ""), ("package_two", "package_two")])
def test_the_modules_of_a_package_count_and_are_read_anew(tmp_path, monkeypatch, name, inside) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    imports = f"from {inside}.factors import scale"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text(USER.format(imports=imports, call="scale(x)"))
    said, digests = [], []
    for value in (3, 5, 3):
        (package / "factors.py").write_text(HELPER.format(imports="", value=value, other=0))
        with catalog_with([name]) as found:
            digests.append(found.digest("op", "plugin_scaled"))
            said.append(found.get("op", "plugin_scaled").load()(2))
    assert said == [6, 10, 6]
    assert digests[0] == digests[2] != digests[1]


def test_a_package_registers_the_parts_of_all_its_modules(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    inner = tmp_path / "package_three" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "package_three" / "__init__.py").write_text("WIDTH = 3\n")
    (inner / "__init__.py").write_text("")
    (inner / "losses.py").write_text(SOURCE.format(value=7))
    with catalog_with(["package_three"]) as found:
        assert found.get("op", "plugin_constant").load()(None) == 7


def test_a_class_of_a_plugin_has_the_parameters_of_its_base_in_a_helper(tmp_path) -> None:
    base = "from torch import nn\nclass Base(nn.Module):\n    def __init__(self, *, width: int = 3):\n        super().__init__()\n"
    (tmp_path / "bases.py").write_text(base)
    own = 'from bases import Base\nfrom kdrun.registry import model\n@model\nclass Derived(Base):\n    "Says."\n'
    (tmp_path / "mine.py").write_text(own)
    with catalog_with([str(tmp_path / "mine.py")]) as found:
        assert list(found.get("model", "Derived").parameters) == ["width"]


def test_a_helper_edited_between_reading_and_use_is_refused(tmp_path) -> None:
    with catalog_with([written_apart(tmp_path, "import helper", "helper.scale(x)", 3)]) as found:
        (tmp_path / "helper.py").write_text(HELPER.format(imports="", value=55, other=0))
        with pytest.raises(InputError, match=r"helper\.py was changed while it was in use"):
            found.get("op", "plugin_scaled").load()
