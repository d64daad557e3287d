"""Files of text: what is none is named by file and line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kdrun.data.text_reading import json_lines, read_table, read_text, word
from kdrun.errors import DataError


def test_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfna\xc3\xafve")
    assert read_text(path) == "naïve"
    path.write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt is no text in UTF-8: invalid continuation byte at byte 2"):
        read_text(path)


@pytest.mark.parametrize("line", ["[1]", "3", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"a": 1}}\n\n{line}\n')
    with pytest.raises(DataError, match=r'a\.jsonl, line 3: expected {"a": 1}'):
        list(json_lines(path, '{"a": 1}'))


def test_a_field_beyond_what_csv_takes_is_an_error_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n"' + "x" * 200_000 + '",1\n')
    before = csv.field_size_limit(10_000_000)  # as a library would set it
    with pytest.raises(DataError, match=r"a\.csv, line 2: field larger"):
        read_table(path)
    assert csv.field_size_limit(before) == 10_000_000
    path.write_text('a,b\n1,"2, 3"\n')
    assert read_table(path) == (["a", "b"], [{"a": "1", "b": "2, 3"}])


def test_a_word_is_text_or_a_number() -> None:
    assert [word("a"), word(3), word(0.5)] == ["a", "3", "0.5"]
    for wrong in (None, True, [], {}):
        with pytest.raises(TypeError):
            word(wrong)
    with pytest.raises(ValueError, match="surrogates"):
        word("\ud800")
