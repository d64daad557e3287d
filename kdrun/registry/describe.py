"""A part in words: its signature as Python writes it, notes on its types, and a node that would name it."""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kdrun.types
from kdrun.registry.kinds import BY_KINDS
from kdrun.registry.signature import MISSING, Input, Parameter, Part

__all__ = ["default_text", "node_text", "place", "signature_text", "type_notes"]

_OWN_ROOT = Path(kdrun.types.__file__).parent.parent


def place(part: Part) -> str:
    """Where the part stands: ``kdrun/ops/divergences.py`` for ours, the whole path for a plugin's file."""
    path = Path(part.file)
    return path.relative_to(_OWN_ROOT).as_posix() if path.is_relative_to(_OWN_ROOT / "kdrun") else path.as_posix()


def default_text(parameter: Parameter) -> str:
    """The default as Python writes it; empty where there is none."""
    return "" if parameter.default is MISSING else repr(parameter.default)


def signature_text(part: Part) -> str:
    """``name(inputs, *, parameters) -> returns``, one argument a line, with what its type means as a comment.

    Before ``*`` stands what ``from`` binds; behind it the parameters.
    """
    arguments = [(_input_text(i), "") for i in part.inputs]
    if part.parameters:
        arguments += [] if part.variadic else [("*", "")]
        arguments += [(_parameter_text(p), type_notes(p.annotation)) for p in part.parameters.values()]
    if part.open_parameters:
        arguments.append(("**inputs" if part.open_inputs else "**others", ""))
    returns = f" -> {part.returns}" if part.returns else ""
    if len(arguments) <= 2 and not any(note for _, note in arguments):
        return f"{part.name}({', '.join(text for text, _ in arguments)}){returns}"
    lines = [f"    {text},".ljust(40) + f"  # {note}" if note else f"    {text}," for text, note in arguments]
    return "\n".join([f"{part.name}(", *lines, f"){returns}"])


def _input_text(item: Input) -> str:
    typed = f"{item.name}: {item.annotation}" if item.annotation else item.name
    if item.variadic:
        return f"*{typed}"
    return typed if item.required else f"{typed} = ..."


def _parameter_text(parameter: Parameter) -> str:
    typed = f"{parameter.name}: {parameter.annotation}" if parameter.annotation else parameter.name
    default = default_text(parameter)
    return f"{typed} = {default}" if default else typed


@functools.cache
def _documented_types() -> Mapping[str, str]:
    """The names of ``kdrun.types`` with the first sentence that stands below each."""
    body = ast.parse(Path(kdrun.types.__file__).read_text(encoding="utf-8")).body
    found = {}
    for assigned, said in itertools.pairwise(body):
        if (
            isinstance(assigned, ast.Assign)
            and isinstance(assigned.targets[0], ast.Name)
            and isinstance(said, ast.Expr)
            and isinstance(said.value, ast.Constant)
        ):
            text = " ".join(str(said.value.value).split())
            found[assigned.targets[0].id] = (text[0].lower() + text[1:]).removesuffix(".")
    return found


def type_notes(annotation: str) -> str:
    """What the range types in an annotation mean: ``a real number above 0`` for ``Positive``; empty for plain types."""
    names = [n.id for n in ast.walk(ast.parse(annotation or "None", mode="eval")) if isinstance(n, ast.Name)]
    known = _documented_types()
    return "; ".join(known[name] for name in dict.fromkeys(names) if name in known)


def node_text(part: Part) -> str:
    """A node that names the part, as YAML in flow style: placeholders for inputs, and the parameters that must be given."""
    head = f"stage: {part.kind}, by: {part.name}" if part.kind in BY_KINDS else f"{part.kind}: {part.name}"
    return f"{{{', '.join([head, *_wires(part), *_needed(part)])}}}"


def _wires(part: Part) -> list[str]:
    """``from`` with a placeholder an input; a metric, model, sampler or tracker gets its inputs from what holds it."""
    if part.kind not in ("op", "stage", *BY_KINDS):
        return []
    names = [f"{i.name}, …" if i.variadic else i.name for i in part.inputs if i.required or i.variadic]
    if part.open_inputs:
        return [f"from: {{{', '.join([*(f'{n}: {n}' for n in names), '…'])}}}"]
    return [f"from: [{', '.join(names)}]"] if names else []


def _needed(part: Part) -> list[str]:
    return [f"{p.name}: {_shown(p)}" for p in part.parameters.values() if p.default is MISSING]


def _shown(parameter: Parameter) -> Any:
    """The first of a parameter's literal values, else ``…``."""
    tree = ast.parse(parameter.annotation or "None", mode="eval")
    literals = [n.slice for n in ast.walk(tree) if isinstance(n, ast.Subscript) and ast.unparse(n.value) == "Literal"]
    if not literals:
        return "…"
    first = literals[0].elts[0] if isinstance(literals[0], ast.Tuple) else literals[0]
    return first.value if isinstance(first, ast.Constant) else "…"
