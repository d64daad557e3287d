"""What a part takes: its inputs and parameters, and the checking of given values against them."""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import kdrun.types
from kdrun.errors import InputError, nearest
from kdrun.limits import refuse_beyond
from kdrun.registry.files import file_stamp

__all__ = ["MISSING", "Input", "Parameter", "Part"]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()
"""Stands for "no default" (``None`` is a value)."""

READ = ("PathToRead", "PretrainedName")
"""Types of parameters that say what is read."""

INJECTED = frozenset({"context", "generator"})
"""Keyword-only arguments that the engine supplies: a stage's context, a seeded random generator."""


@dataclass(frozen=True)
class Input:
    """A positional argument, bound by ``from``."""

    name: str
    annotation: str
    required: bool
    variadic: bool = False


@dataclass(frozen=True)
class Parameter:
    """A keyword-only argument; ``annotation`` is source text, evaluated in a fixed namespace."""

    name: str
    annotation: str
    default: Any = MISSING

    @property
    def reads(self) -> str:
        """``PathToRead`` or ``PretrainedName`` where the value, or one inside it, names what is read; else empty."""
        named = re.search(rf"\b({'|'.join(READ)})\b", self.annotation)
        return named.group(1) if named else ""

    def validate(self, value: Any, *, key: str) -> Any:
        """Return ``value`` in the declared type, or raise ``InputError`` naming ``key``."""
        from pydantic import ValidationError

        refuse_beyond("loop_items", _longest(value), "items of a list", key=key)
        try:
            return _adapter(self.annotation).validate_python(value, strict=True)
        except ValidationError as error:
            problems = {_plain(e["msg"]) for e in error.errors()}
            raise InputError(
                f"{value!r} does not fit {self.name}: {self.annotation} ({'; '.join(sorted(problems))})",
                key=key,
            ) from None


REPEATED = re.compile(r"(^|_)(depths?|blocks|levels|tasks|layer|layers|layers_per_block|experts)$")
"""Parameters of models that say how often something with weights of its own is repeated."""


def _refuse_deep(name: str, value: Any, key: str) -> None:
    """Raise ``InputError`` for more repetitions than a model may have tensors, which each has one of at least."""
    if isinstance(value, Mapping):
        for inner, one in value.items():
            _refuse_deep(str(inner), one, f"{key}.{inner}")
    elif REPEATED.search(name):
        counts = value if isinstance(value, list) else [value]
        total = sum(count for count in counts if isinstance(count, int))
        refuse_beyond("tensors", total, "layers, blocks or the like of a model", key=key)


def _longest(value: Any) -> int:
    """The length of the longest list in a value."""
    if isinstance(value, list):
        return max(len(value), max(map(_longest, value), default=0))
    return max(map(_longest, value.values()), default=0) if isinstance(value, Mapping) else 0


def _plain(message: str) -> str:
    return message[0].lower() + message[1:]


_NAMESPACE: dict[str, Any] = {
    **{name: getattr(typing, name) for name in ("Any", "Literal", "Optional", "Union")},
    **{name: getattr(kdrun.types, name) for name in kdrun.types.__all__},
    **{t.__name__: t for t in (int, float, str, bool, list, dict, tuple)},
    "Mapping": Mapping,
    "None": None,
    "__builtins__": {},
}


@functools.cache
def _adapter(annotation: str) -> Any:
    from pydantic import TypeAdapter

    # The text comes from the signature of an installed part, never from a recipe.
    return TypeAdapter(eval(annotation or "Any", _NAMESPACE))


@dataclass(frozen=True)
class Part:
    """A registered function or class, known from its source text; ``load`` imports it."""

    kind: str
    name: str
    module: str
    qualname: str
    file: str
    line: int
    inputs: tuple[Input, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    open_parameters: bool = False
    returns: str = ""
    doc: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    injected: frozenset[str] = frozenset()
    stamps: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    """A plug-in's own files, with time of change (ns) and size when they were read."""

    def changed(self) -> str | None:
        """A file of the part's plug-in that is no longer the one that was read."""
        return next((file for file, stamp in self.stamps.items() if file_stamp(file) != stamp), None)

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return self.doc.strip().split("\n", 1)[0]

    @property
    def variadic(self) -> bool:
        return any(i.variadic for i in self.inputs)

    @property
    def open_inputs(self) -> bool:
        """Whether ``from`` may name inputs of any kind: a stage whose function ends in ``**inputs``."""
        return self.kind == "stage" and self.open_parameters

    def validate(self, values: Mapping[str, Any], *, key: str, later: Collection[str] = ()) -> dict[str, Any]:
        """Check parameters by name, type and range. Defaults are not filled in; those named ``later`` get a value then.

        Raises ``InputError`` for an unknown, missing or ill-typed parameter.
        """
        checked = {}
        for name, value in values.items():
            parameter = self.parameters.get(name)
            if parameter is not None:
                checked[name] = parameter.validate(value, key=f"{key}.{name}")
                if self.kind == "model":
                    _refuse_deep(name, value, f"{key}.{name}")
            elif self.open_parameters and self.kind != "stage":
                checked[name] = value
            else:
                known = ", ".join(self.parameters) or "none"
                raise InputError(
                    f"{self.kind} '{self.name}' has no parameter '{name}'"
                    f"{nearest(name, self.parameters)}; it takes: {known}",
                    key=f"{key}.{name}",
                )
        missing = [p.name for p in self.parameters.values() if p.default is MISSING and p.name not in {*values, *later}]
        if missing:
            raise InputError(f"{self.kind} '{self.name}' needs the parameter '{missing[0]}'", key=key)
        return checked

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``values`` completed by the declared defaults."""
        defaults = {p.name: p.default for p in self.parameters.values() if p.default is not MISSING}
        return {**defaults, **values}

    def bind(self, given: list[Any] | dict[str, Any], *, key: str) -> dict[str, Any]:
        """Map what ``from`` gives to argument names; a variadic input collects the rest in a list."""
        names = [i.name for i in self.inputs]
        if isinstance(given, dict):
            for name in given:
                if name not in names and not self.open_inputs:
                    raise InputError(
                        f"{self.kind} '{self.name}' has no input '{name}'{nearest(name, names)}; "
                        f"it takes: {', '.join(names) or 'none'}",
                        key=f"{key}.from",
                    )
            bound = dict(given)
        else:
            bound = {}
            rest = list(given)
            for item in self.inputs:
                if item.variadic:
                    bound[item.name], rest = rest, []
                elif rest:
                    bound[item.name] = rest.pop(0)
            if rest:
                raise InputError(
                    f"{self.kind} '{self.name}' takes {len(names)} inputs ({', '.join(names)}), got {len(given)}",
                    key=f"{key}.from",
                )
        missing = [i.name for i in self.inputs if i.required and not i.variadic and i.name not in bound]
        if missing:
            raise InputError(
                f"{self.kind} '{self.name}' lacks its input '{missing[0]}' "
                f"(it takes, in this order: {', '.join(names)})",
                key=f"{key}.from",
            )
        return bound

    def lacking(self, error: ImportError) -> Exception:
        """What to raise when a package that the part imports is missing: the extra to install, if it names one."""
        extra = self.options.get("extra")
        if extra is None:
            return error
        return InputError(f"{self.kind} '{self.name}' needs an extra: pip install 'kdrun[{extra}]' ({error})")

    def load(self) -> Any:
        """Import the part's module and return the function or class.

        Raises ``InputError`` naming the extra to install if a package is missing, or a plugin that was edited meanwhile:
        its stages' keys speak of the source that was read.
        """
        from kdrun.registry.loading import import_module

        if (changed := self.changed()) is not None:
            raise InputError(f"{changed} was changed while it was in use: start again to use what it says now")
        try:
            target: Any = import_module(self.module, self.file)
        except ImportError as error:
            raise self.lacking(error) from error
        for piece in self.qualname.split("."):
            target = getattr(target, piece)
        return target
