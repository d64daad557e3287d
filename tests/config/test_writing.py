"""Configurations as text."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kdrun.config.files import read
from kdrun.config.writing import yaml_text

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["a", "1e-3", "no", "ü: #", "", "~"])
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["x", "y y"]), inner), max_leaves=9
)


@given(TREES)
def test_what_is_written_is_read_again_by_the_reader_of_recipes(tmp_path_factory, tree) -> None:
    path = tmp_path_factory.mktemp("written") / "one.yaml"
    path.write_text(yaml_text({"first": tree, "second": tree}), encoding="utf-8")
    assert read(path).content == {"first": tree, "second": tree}


def test_an_object_of_a_class_is_not_written() -> None:
    with pytest.raises(yaml.YAMLError):
        yaml_text({"a": object()})
