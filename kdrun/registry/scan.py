"""Reading modules as text: which parts they hold, and what each definition's source depends on.

The summary of a module is plain JSON and is cached by path, size and modification time, so that a
command starts fast however many parts there are.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from kdrun.errors import InputError
from kdrun.registry.files import file_stamp
from kdrun.registry.kinds import HOOKS, KINDS

__all__ = ["module_summary", "save_cache"]

_FORMAT = 7


def _cache_path() -> Path:
    """Of this installation alone: one for all would grow, and be read whole at each start, with every copy on a machine."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:12]
    return Path(root) / "kdrun-index" / f"v{_FORMAT}-{sys.version_info[0]}.{sys.version_info[1]}-{place}.json"


_cache: dict[str, Any] | None = None
_dirty = False


def _load_cache() -> dict[str, Any]:
    global _cache
    if _cache is None:
        try:
            _cache = json.loads(_cache_path().read_text())
        except (OSError, ValueError):
            _cache = {}
    return _cache


def save_cache() -> None:
    """Write the index cache if it changed; an unwritable place is no error."""
    global _dirty
    if not _dirty or _cache is None:
        return
    path = _cache_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        there = {file: entry for file, entry in _cache.items() if os.path.exists(file)}
        temporary.write_text(json.dumps(there))
        temporary.replace(path)
    except OSError:
        pass
    _dirty = False


def module_summary(module: str, file: str) -> dict[str, Any]:
    """Return ``{parts, classes, definitions, imports}`` of one module, from the cache if its file is unchanged."""
    global _dirty
    cache = _load_cache()
    read = {"stamp": list(file_stamp(file) or ()), "package": _package(module, file)}
    entry = cache.get(file)
    if entry is None or {name: entry[name] for name in read} != read:
        entry = {**read, **_summarize(module, file)}
        cache[file] = entry
        _dirty = True
    return entry


def _summarize(module: str, file: str) -> dict[str, Any]:
    text = Path(file).read_text(encoding="utf-8")
    try:
        tree = ast.parse(text, filename=file)
    except SyntaxError as error:
        raise InputError(f"{file}:{error.lineno}: not valid Python ({error.msg})") from None
    package = _package(module, file)
    imports = _imports(tree.body, package)
    definitions: dict[str, Any] = {}
    parts, classes = [], {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            classes[node.name] = _signature(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            parts += _parts_of(node, imports, file)
            definitions[node.name] = _definition(node, package)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            for name in _touched(node):
                found = _definition(node, package)
                definitions[name] = _joined(definitions[name], found) if name in definitions else found
    return {"parts": parts, "classes": classes, "definitions": definitions, "imports": imports}


def _package(module: str, file: str) -> str:
    """What a module's relative imports start from; a plug-in's file stands at the top, with those beside it."""
    if module.startswith("plugin:"):
        return ""
    return module if file.endswith("__init__.py") else module.rpartition(".")[0]


def _touched(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module gives a value or changes: ``A, B = 1, 2``, ``TABLE["x"] = 1``, ``TABLE.update(…)``."""
    names = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        elif isinstance(inner, ast.FunctionDef | ast.ClassDef):
            names.add(inner.name)
        elif isinstance(inner, ast.Attribute | ast.Subscript) and isinstance(inner.ctx, ast.Store):
            names |= _base(inner)
        elif isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call):
            names |= _base(inner.value.func)
    return sorted(names - {"__all__"})


def _base(node: ast.expr) -> set[str]:
    """The name at the start of ``name.attribute[key]``; none of a plain call."""
    inside = isinstance(node, ast.Attribute | ast.Subscript)
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if inside and isinstance(node, ast.Name) else set()


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A definition that two statements make together."""
    digest = hashlib.sha256(f"{one['digest']} {other['digest']}".encode()).hexdigest()
    lists = {word: sorted({*one[word], *other[word]}) for word in ("names", "attributes")}
    return {"digest": digest, **lists, "imports": {**one["imports"], **other["imports"]}}


def _imports(body: list[Any], package: str) -> dict[str, list[str]]:
    """Local name -> [module, attribute]; an empty attribute means the module itself."""
    found: dict[str, list[str]] = {}
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name] = [alias.name, ""]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(filter(None, [*up, base]))
            for alias in node.names:
                found[f"{base}.*" if alias.name == "*" else alias.asname or alias.name] = [base, alias.name]
        elif isinstance(node, ast.If | ast.Try):
            found.update(_imports(node.body, package))
    return found


class _Normalize(ast.NodeTransformer):
    """Drop docstrings and imports of our own: a reworded explanation or a moved module recomputes nothing.

    What is imported is read where it stands.
    """

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        return ast.Pass() if node.module is None or node.module.split(".")[0] == "kdrun" else node

    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        body = node.body
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            if isinstance(body[0].value.value, str):
                node.body = body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _strip


def _definition(node: Any, package: str) -> dict[str, Any]:
    local = _imports([n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)], package)
    names = sorted({n.id for n in ast.walk(node) if isinstance(n, ast.Name)})
    attributes = sorted(
        {
            f"{n.value.id}.{n.attr}"
            for n in ast.walk(node)
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
        }
    )
    dump = ast.dump(_Normalize().visit(ast.parse(ast.unparse(node))))
    digest = hashlib.sha256(dump.encode()).hexdigest()
    return {"digest": digest, "names": names, "attributes": attributes, "imports": local}


def _parts_of(node: Any, imports: dict[str, list[str]], file: str) -> list[dict[str, Any]]:
    found = []
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        target = call.func if call else decorator
        if not isinstance(target, ast.Name):
            continue
        origin = imports.get(target.id, ["", ""])
        if not origin[0].startswith("kdrun.registry") or origin[1] not in (*KINDS, *HOOKS):
            continue
        options = {str(k.arg): _written(k.value, file) for k in call.keywords} if call else {}
        if call and call.args:
            options["name"] = " ".join(_written(argument, file) for argument in call.args)
        found.append(
            {
                "kind": origin[1],
                "name": options.pop("name", node.name),
                "qualname": node.name,
                "line": node.lineno,
                "doc": ast.get_docstring(node) or "",
                "options": options,
                **_signature(node),
            }
        )
    return found


def _written(node: ast.expr, file: str) -> Any:
    """A decorator's argument, which is read from the text: nothing of a module runs before it is needed."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        text = ast.unparse(node)
        raise InputError(
            f"{file}:{node.lineno}: what a part says of itself is read, not run: write {text!r} out"
        ) from None


def _signature(node: Any) -> dict[str, Any]:
    if isinstance(node, ast.ClassDef):
        methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
        init, forward = methods.get("__init__"), methods.get("forward")
        own = _arguments(init) if init else {"inputs": [], "parameters": [], "open": False}
        if forward:
            own["inputs"] = _arguments(forward)["inputs"]
        lacks = [*(["inputs"] if not forward else []), *(["parameters"] if not init or own["open"] else [])]
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        return {**own, "returns": "", "bases": bases, "lacks": lacks}
    return {**_arguments(node), "returns": ast.unparse(node.returns) if node.returns else ""}


def _arguments(function: ast.FunctionDef) -> dict[str, Any]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    inputs = [
        {"name": a.arg, "annotation": _text(a.annotation), "required": i < required, "variadic": False}
        for i, a in enumerate(positional)
        if a.arg not in ("self", "cls")
    ]
    if arguments.vararg:
        inputs.append(
            {
                "name": arguments.vararg.arg,
                "annotation": _text(arguments.vararg.annotation),
                "required": False,
                "variadic": True,
            }
        )
    parameters = []
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        entry: dict[str, Any] = {"name": argument.arg, "annotation": _text(argument.annotation)}
        if default is not None:
            entry["default"] = _literal(default, function.name, argument.arg)
        parameters.append(entry)
    return {"inputs": inputs, "parameters": parameters, "open": arguments.kwarg is not None}


def _text(annotation: ast.expr | None) -> str:
    return ast.unparse(annotation) if annotation is not None else ""


def _literal(node: ast.expr, function: str, argument: str) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        raise InputError(f"default of '{argument}' in part '{function}' is not a literal") from None
    return list(value) if isinstance(value, tuple) else value
