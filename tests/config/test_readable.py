"""What a person types that Hydra's grammar has no word for is read as the plain text that it is."""

from __future__ import annotations

import pytest

from kdrun.config.layers import parse_text
from kdrun.config.readable import readable
from kdrun.errors import InputError


@pytest.mark.parametrize(
    "value",
    ["~/images", "José", "/data/a (copy)", "it's", "k=v", "a&b", "50%", "x y z", "C:\\new\\", "\\'", "a#b", "e!"],
)
def test_plain_text_is_read_as_it_is_written(value) -> None:
    (read,) = parse_text([f"data.root={value}"])
    assert (read.path, read.value) == ("data.root", value)


def test_entries_of_a_list_are_read_alike() -> None:
    (read,) = parse_text(["plugins=[~/mine.py, b (1).py, 3]"])
    assert read.value == ["~/mine.py", "b (1).py", 3]


@pytest.mark.parametrize("text", ["a=[x", "a={b", "a=${c", "a='d", "a=choice(e", "a=[x] (copy)"])
def test_a_slip_in_a_list_a_call_or_a_quote_is_told(text) -> None:
    assert readable(text) == text
    with pytest.raises(InputError, match="cannot read the override"):
        parse_text([text])


@pytest.mark.parametrize("text", ["a=1", "a='~/x'", "a=[1,2]", "~a", "a=1,2", "a=glob(cifar/*)", "a={b: 1}", "a"])
def test_what_is_right_is_left_alone(text) -> None:
    assert readable(text) == text
