"""The key of a stage: a hash of everything its result depends on, found without running anything."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.graph.check import ENGINE_KEYS, nested_parts
from kdrun.graph.types import part_of
from kdrun.models.checkpoints import Weights
from kdrun.registry import Part, catalog

__all__ = ["Keys", "numerics", "version_of"]


def numerics(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the hardware group that may change a result's bits, and torch's version."""
    names = ("device", "precision", "compile", "channels_last", "threads", "deterministic")
    lowered = {
        n: hardware[n] for n in ("fold_frozen", "frozen_precision") if hardware.get(n) not in (None, False, "fp32")
    }
    return {**{n: hardware.get(n) for n in names}, **lowered, "torch": version_of("torch")}


@functools.cache
def version_of(package: str) -> str:
    """The version of an installed package, else ``none``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


class Keys:
    """Computes and remembers the key of each node of one graph at one seed.

    ``sources`` are hashes of the parts' source, and ``outside`` those of files and data by node, of the keys computed so far.
    """

    def __init__(self, graph: Graph, *, seed: int, hardware: Mapping[str, Any]) -> None:
        self.graph = graph
        self.seed = seed
        self.numerics = numerics(hardware)
        self.processes = int(hardware.get("processes", 1))
        self.sources: dict[str, str] = {}
        self.outside: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, str] = {}

    def seed_of(self, node: Node) -> int:
        """The seed of a stage: the run's, unless the node sets its own."""
        return int(node.params.get("seed", self.seed)) if node.verb == "stage" else self.seed

    def __getitem__(self, name: str) -> str:
        todo = [name]
        while todo:  # what is read comes first; a chain may be longer than calls may nest
            node = self.graph.nodes[todo[-1]]
            missing = [ref.name for ref in node.refs() if ref.name not in self._keys]
            if missing and todo[-1] not in self._keys:
                todo += missing
            elif todo.pop() not in self._keys:
                self._keys[node.name] = _hash(self.content(node))
        return self._keys[name]

    def content(self, node: Node) -> dict[str, Any]:
        """What the key is a hash of, readable."""
        part = part_of(node)
        parts = {(part.kind, part.name): part, **{(p.kind, p.name): p for p in self._used(node)}}
        content: dict[str, Any] = {
            "kind": f"{node.verb} {node.part}",
            "by": node.by,
            "sources": {f"{k} {n}": catalog().digest(k, n) for k, n in sorted(parts)},
            "versions": {r: version_of(r) for p in parts.values() for r in p.options.get("requires", ())},
            "parameters": {k: v for k, v in node.params.items() if k != "seed" or node.verb != "stage"},
            "inputs": self._inputs(node),
        }
        if node.verb in ("stage", "op"):
            content["numerics"] = self.numerics
        if part.options.get("together") and self.processes > 1:
            content["processes"] = self.processes
        if part.options.get("machine"):
            content["machine"] = [platform.node(), platform.machine(), os.cpu_count()]
        if self._is_random(node, part):
            content["seed"] = self.seed_of(node)
            content["stream"] = node.name
        self.sources.update(content["sources"])
        if found := _outside(node, part):
            self.outside[node.name] = found
        return {**content, **found}

    def _is_random(self, node: Node, part: Part) -> bool:
        """Whether a stage draws random numbers: its part takes a generator or a context and says no other, or a model is new."""
        if node.verb not in ("stage", "op"):
            return False
        new = any(self.graph.nodes[ref.name].verb == "model" for ref in node.refs())
        stated = part.options.get("random", bool({"generator", "context"} & part.injected))
        return new or bool(node.params.get(stated) if isinstance(stated, str) else stated)

    def _inputs(self, node: Node) -> Any:
        def one(item: Ref | list[Ref]) -> Any:
            if isinstance(item, list):
                return [one(ref) for ref in item]
            return [self[item.name], *item.field]

        if isinstance(node.inputs, dict):
            return {name: one(item) for name, item in node.inputs.items()}
        return [one(item) for item in node.inputs]

    def _used(self, node: Node) -> Iterator[Part]:
        """Parts named inside a node's parameters: each parameter says which, or they are found by their kinds."""
        for parameter, content in node.params.items():
            key = f"{node.key}.{parameter}"
            own = catalog().hook("parts_of", parameter) if node.verb == "stage" and content is not None else None
            found = own.load()(content, key) if own is not None else nested_parts({parameter: content}, node.key)
            for kind, name, *_ in found:
                yield catalog().get(kind, name, key=key)


def _outside(node: Node, part: Part) -> dict[str, Any]:
    """Files that a source node reads: weights by content, data by the fingerprint its part declares."""
    found = {}
    weights = node.params.get("weights") if node.verb == "model" else None
    if weights is not None:
        given = Weights.of(weights, key=f"{node.key}.weights")
        path = given.file
        if not _is_file(path):
            raise InputError(f"the checkpoint {_shown(given.path)} does not exist", key=f"{node.key}.weights")
        found["weights"] = _hash_file(str(path), path.stat().st_mtime_ns, path.stat().st_size)
    if node.verb == "data" and part.options.get("fingerprint"):
        own = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["data"]}
        found["fingerprint"] = part.load()(**own).fingerprint()
    return found


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _shown(text: str) -> str:
    """A path as an error shows it: the middle of one that is too long for any file is left out."""
    return text if len(text) <= 300 else f"{text[:200]}…{text[-80:]}"


@functools.cache
def _hash_file(path: str, mtime: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _slow(file)


def _slow(file: Any) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:40]
