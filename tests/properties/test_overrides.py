"""Overrides: what is said is what is meant, and what cannot be read is told in one line."""

from __future__ import annotations

import contextlib
import json

from hypothesis import assume, given
from hypothesis import strategies as st

from kdrun.config.layers import parse_text
from kdrun.config.readable import readable
from kdrun.errors import InputError
from support.answers import refusal, wrong_with

SEEN = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=12)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | SEEN
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def written(value: object) -> str:
    """A value in the grammar of the command line, all text in quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("'", "\\'") if "\\" not in value else None
        assume(escaped is not None)  # how backslashes before quotes are written is Hydra's own
        return f"'{escaped}'"
    return json.dumps(value)


@given(NAMES, VALUES)
def test_a_value_that_is_written_down_is_read_as_it_was(name, value) -> None:
    assume("${" not in str(value))
    (found,) = parse_text([f"{name}={written(value)}"])
    assert (found.path, found.value, found.sign) == (name, value, "")


@given(NAMES, VALUES)
def test_reading_what_was_read_and_written_again_changes_nothing(name, value) -> None:
    (once,) = parse_text([f"{name}={written(value)}"])
    (twice,) = parse_text([f"{name}={written(once.value)}"])
    assert twice.value == once.value


@given(st.text(st.characters(categories=("L", "Zs"), include_characters="/~._- ()'!?#&"), min_size=1, max_size=15))
def test_plain_text_needs_no_quotes(text) -> None:
    assume(text.strip() == text and text.lower() not in ("null", "true", "false", "nan", "inf"))
    assume(text[0] not in "'-~" and "(" not in text and "  " not in text)
    (found,) = parse_text([f"name={text}"])
    assert found.value == text


@given(st.text(max_size=30))
def test_any_text_is_an_override_or_one_line_that_says_what_is_wrong(text) -> None:
    refused = refusal(lambda: parse_text([text]))
    if refused is not None:
        assert wrong_with(refused) is None
        return
    (found,) = parse_text([text])
    assert isinstance(found.path, str)
    assert found.path


@given(st.text(max_size=30))
def test_what_is_made_readable_stays_so(text) -> None:
    with contextlib.suppress(InputError):
        once = readable(text)
        assert readable(once) == once
