"""``kdrun explain KIND NAME``: a part, a method, a protocol or any option: what it takes, what it does, who uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.config.files import read, short
from kdrun.config.methods import methods
from kdrun.config.paths import group_options, groups, recipe_files
from kdrun.config.usage import Source, Usage, usage
from kdrun.config.writing import yaml_text
from kdrun.errors import InputError, nearest
from kdrun.registry import BY_KINDS, KINDS, Catalog, Part, catalog
from kdrun.registry.describe import node_text, place, signature_text

__all__ = ["main", "names_of", "subjects"]

WIDTH = 118
SHOWN = 8
"""How many users of a part are named; ``--all`` names every one."""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="kdrun explain",
        description="Explain a part (op kl_divergence, select top_k), a method (transfer distillation/kd), "
        "a protocol or an option of a group (student cnn_tiny).",
    )
    parser.add_argument("subject", nargs="+", metavar="KIND NAME", help="KIND NAME, or a NAME that only one thing has")
    parser.add_argument("--plugins", default="", help="also the parts of these files or packages, comma-separated")
    parser.add_argument("--all", action="store_true", help=f"name all users, not the first {SHOWN}")
    options = parser.parse_intermixed_args(list(arguments))
    parts = catalog([p for p in options.plugins.split(",") if p])
    if len(options.subject) > 2:
        raise InputError("kdrun explain takes a kind and a name: kdrun explain op kl_divergence")
    found = _found(options.subject, parts)
    users, most = usage(), 10**6 if options.all else SHOWN
    pages = [_part(s, users, most) if isinstance(s, Part) else _option(s, users, most) for s in found]
    say("\n\n".join("\n".join(page).rstrip() for page in pages))
    return 0


def subjects(parts: Catalog) -> list[str]:
    """The kinds that ``explain`` knows: those with parts, and the config groups."""
    return sorted({*(part.kind for part in parts), *groups()})


def names_of(kind: str, parts: Catalog) -> list[str]:
    """What can be explained of one kind: parts and options; of a stage, also the kinds that take ``by``."""
    more = [k for k in BY_KINDS if parts.names(k)] if kind == "stage" else []
    return sorted({*parts.names(kind), *more, *(group_options(kind) if kind in groups() else ())})


def _found(subject: Sequence[str], parts: Catalog) -> list[Part | Source]:
    """What a kind and a name mean: a part, an option, or both where a group has the name of a kind."""
    if len(subject) == 1:
        return _alone(subject[0], parts)
    kind, name = subject
    kinds = [*KINDS, *groups()]
    if kind not in kinds:
        raise InputError(f"there is no kind or group '{kind}'{nearest(kind, kinds)}; kdrun explain KIND NAME")
    found = _named(kind, name, parts)
    if not found:
        known = names_of(kind, parts)
        short_names = [n.rpartition("/")[2] for n in known]
        hint = nearest(name, [*known, *short_names]) or f"; known: {', '.join(known[:SHOWN])}, … ({len(known)} in all)"
        raise InputError(f"no {kind} is called '{name}'{hint}")
    return found


def _named(kind: str, name: str, parts: Catalog) -> list[Part | Source]:
    part = parts.find(kind, name)
    if part is None and kind == "stage" and name in BY_KINDS and parts.names(name):
        return [p for p in (parts.find(name, n) for n in parts.names(name)) if p is not None]
    options = group_options(kind) if kind in groups() else {}
    full = [o for o in options if o == name] or [o for o in options if o.rpartition("/")[2] == name]
    if len(full) > 1:
        raise InputError(f"'{name}' is ambiguous: {', '.join(f'{kind} {o}' for o in full)}")
    return [*([part] if part else []), *(Source(kind, o, options[o]) for o in full)]


def _alone(name: str, parts: Catalog) -> list[Part | Source]:
    """A name without a kind: the part that has it, else the option."""
    kinds = list(dict.fromkeys(p.kind for p in parts if p.name == name))
    where = kinds or _groups_with(name)
    if len(where) > 1:
        raise InputError(f"'{name}' is ambiguous: {', '.join(f'kdrun explain {kind} {name}' for kind in where)}")
    if where:
        return _named(where[0], name, parts)
    if name in subjects(parts):
        known = names_of(name, parts)
        more = f", … ({len(known)} in all)" if len(known) > SHOWN else ""
        raise InputError(f"which {name}? kdrun explain {name} NAME, NAME being {', '.join(known[:SHOWN])}{more}")
    if any(name in (r.name, r.name.rpartition("/")[2]) for r in recipe_files()):
        raise InputError(f"'{name}' is a recipe: kdrun show {name} draws it")
    known = [*(p.name for p in parts), *(o.rpartition("/")[2] for g in groups() for o in group_options(g))]
    raise InputError(f"nothing is called '{name}'{nearest(name, known)}; kdrun list parts shows all parts")


def _groups_with(name: str) -> list[str]:
    """The groups that have an option of this name; of two that serve one file, the first."""
    files = {
        path: group
        for group in reversed(groups())
        for option, path in group_options(group).items()
        if name in (option, option.rpartition("/")[2])
    }
    return list(dict.fromkeys(files.values()))


def _part(part: Part, users: Usage, most: int) -> list[str]:
    lines = [f"{part.kind} {part.name}  ({place(part)}:{part.line})", ""]
    lines += [*signature_text(part).split("\n"), ""]
    lines += [part.doc, ""] if part.doc else []
    if part.options.get("fields"):
        lines += list(_wrapped("fields", part.options["fields"], 10**6))
    if part.options.get("extra"):
        lines += [f"{'needs':<12}pip install 'kdrun[{part.options['extra']}]'"]
    return lines + _example(part, users) + _users(users.of_part(part.kind, part.name), users, most)


def _example(part: Part, users: Usage) -> list[str]:
    """A node of a file that names the part; where none does, one made of its signature."""
    found = users.example(part.kind, part.name)
    if found is None:
        return [f"{'in YAML':<12}name: {node_text(part)}"]
    name, content, source = found
    text = f"{f'{name}: ' if name else ''}{_flow(content)}"
    lines = [text] if len(text) <= WIDTH - 12 else _block({name: content} if name else content)
    return [*(f"{'' if i else 'in YAML':<12}{line}" for i, line in enumerate(lines)), f"{'':<12}({short(source.path)})"]


def _block(content: Any) -> list[str]:
    """YAML over several lines, the innermost mappings and lists in flow style."""
    text = yaml_text(content, default_flow_style=None, width=WIDTH - 12)
    return text.rstrip().split("\n")


def _flow(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_flow(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(v) for v in value)}]"
    if isinstance(value, str) and not any(c in value for c in "{}[],:#&*!|>'\"%@` "):
        return value
    return json.dumps(value, ensure_ascii=False)


def _users(direct: tuple[Source, ...], users: Usage, most: int) -> list[str]:
    """The methods and options that name something, and the recipes that use it, also through these."""
    recipes = [s for s in users.reached(direct) if s.group == "recipes"]
    rows = {
        "methods": [s.name for s in direct if s.group == "transfer"],
        "options": _choices([s for s in direct if s.group not in ("transfer", "recipes")]),
        "recipes": [s.name for s in recipes],
    }
    lines = [line for title, names in rows.items() if names for line in _wrapped(title, sorted(names), most)]
    return lines or [f"{'used by':<12}nothing that is shipped"]


def _choices(sources: Sequence[Source]) -> list[str]:
    """``data=digits``; ``student|teacher=cnn`` where two groups serve one file."""
    by_file: dict[Path, list[Source]] = {}
    for source in sources:
        by_file.setdefault(source.path, []).append(source)
    return [f"{'|'.join(s.group for s in same)}={same[0].name}" for same in by_file.values()]


def _wrapped(title: str, names: Sequence[str], most: int) -> Iterator[str]:
    shown = [*names[:most], *([f"and {len(names) - most} more"] if len(names) > most else [])]
    line = f"{title:<12}"
    for i, name in enumerate(shown):
        piece = name if i == len(shown) - 1 else f"{name}, "
        if len(line) + len(piece) > WIDTH and line.strip():
            yield line.rstrip()
            line = " " * 12
        line += piece
    yield line.rstrip()


def _option(source: Source, users: Usage, most: int) -> list[str]:
    text = source.path.read_text(encoding="utf-8").rstrip()
    lines = [f"{source.group}={source.name}  ({short(source.path)})", "", *(f"  {row}" for row in text.split("\n")), ""]
    if source.group == "transfer":
        lines += [f"{'reads':<12}{m.reads.removeprefix('reads ')}" for m in methods(None) if m.name == source.name]
    if source.group == "protocol":
        own = [m.name for m in methods(source.name)]
        lines += list(_wrapped("methods", own, 10**6)) if own else []
    base = [d for d in read(source.path).content.get("defaults") or [] if isinstance(d, str)]
    lines += [f"{'builds on':<12}{', '.join(base)}"] if base else []
    direct = users.of_option(source.group, source.name)
    return lines + _users(direct, users, most) + [f"{'to use':<12}{source.group}={source.name}"]
