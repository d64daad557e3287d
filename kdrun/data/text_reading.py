"""Files of text as data are read from: what is no text, or not of the form that is expected, is named by file and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdrun.errors import DataError

__all__ = ["json_lines", "read_lines", "read_table", "read_text", "word"]

LONGEST_FIELD = 131_072
"""Characters of a field of a CSV file."""


def read_text(path: Path, *, key: str | None = "data.root") -> str:
    """The text of a file in UTF-8. Raises ``DataError`` for what is no file, cannot be read or is in another encoding."""
    if not path.is_file():
        raise DataError(f"there is no file {path}", key=key)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}", key=key) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", key=key) from None


def read_lines(path: Path, *, key: str | None = "data.root") -> list[str]:
    """Its lines, likewise."""
    return read_text(path, key=key).splitlines()


def json_lines(path: Path, form: str, *, key: str | None = "data.root") -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line that is not blank. Raises ``DataError`` for one that is no JSON object, as ``form`` shows."""
    for number, line in enumerate(read_lines(path, key=key), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise DataError(f"{path}, line {number}: expected {form}", key=key)
        yield number, content


def word(value: Any) -> str:
    """A text, or a number as text. Raises ``TypeError`` for other values, ``ValueError`` for text that is no Unicode."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"expected text, got {value!r:.40}")
    text = str(value)
    text.encode()
    return text


def read_table(path: Path, *, key: str | None = "data.root") -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file. Raises ``DataError`` for what is none."""
    reader = csv.DictReader(io.StringIO(read_text(path, key=key), newline=""))
    others = csv.field_size_limit(LONGEST_FIELD)  # of the whole process: libraries raise it
    try:
        return list(reader.fieldnames or []), list(reader)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num + 1}: {error}", key=key) from None
    finally:
        csv.field_size_limit(others)
