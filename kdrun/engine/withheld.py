"""Rows that are held out, as methods see them when they are planned: without the columns that they are judged by."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdrun.data.dataset import DataInfo
from kdrun.errors import InputError, KdrunError
from kdrun.grammar.nodes import Node, Ref
from kdrun.registry import Part

__all__ = ["explain", "narrowed", "refuse_mentions", "withheld"]


def narrowed(value: Any, columns: tuple[str, ...]) -> Any:
    """What is known of data, with these columns alone; of a list or a mapping of data, of each."""
    if isinstance(value, DataInfo):
        return replace(value, columns={n: c for n, c in value.columns.items() if n in (*columns, "index")})
    if isinstance(value, Mapping):
        return {name: narrowed(one, columns) for name, one in value.items()}
    return [narrowed(one, columns) for one in value] if isinstance(value, list) else value


def withheld(value: Any, columns: tuple[str, ...]) -> set[str]:
    """The columns that ``narrowed`` takes away."""
    if isinstance(value, DataInfo):
        return set(value.columns) - {*columns, "index"}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {name for one in inner for name in withheld(one, columns)}


def refuse_mentions(node: Node, part: Part, hidden: Mapping[str, Ref]) -> None:
    """Raise ``InputError`` for a stage whose part or whose parameters name a column that is withheld.

    Told by the part's source, and that of its module's definitions that it mentions.
    """
    if node.by is None or not hidden:
        return
    written = {"column"} if node.kind == "label" else set()
    given = {name: value for name, value in part.with_defaults(node.params).items() if name not in written}
    said = {text for value in given.values() for text in _texts(value)} | set(_constants(part))
    for column in sorted(said & set(hidden)):
        raise InputError(f"{node.kind} by {node.by} reads '{column}'{_why(column, hidden)}", key=node.key)


def explain(error: KdrunError, hidden: Mapping[str, Ref]) -> None:
    """Say why a column is missing that an error names, where it is withheld."""
    column = next((name for name in hidden if f"'{name}'" in error.message), None)
    if column is not None and "held out" not in error.message:
        error.message += _why(column, hidden)


def _why(column: str, hidden: Mapping[str, Ref]) -> str:
    return f"; '{column}' of {hidden[column]} is held out: transductive names the columns that a method may see"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _constants(part: Part) -> Iterator[str]:
    """The texts in the body of a part and of the definitions of its module that it mentions; no docstrings, no defaults."""
    tree = ast.parse(Path(part.file).read_text(encoding="utf-8"))
    known = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    todo, met = [part.qualname], set()
    while todo:
        name = todo.pop()
        if name in met or name not in known:
            continue
        met.add(name)
        for inner in (i for statement in known[name].body for i in ast.walk(statement)):
            if isinstance(inner, ast.Name):
                todo.append(inner.id)
            elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value
