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
