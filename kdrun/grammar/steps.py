"""Reading a step graph: its nodes and its ordered updates. Knows no tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Node, parse_node
from kdrun.grammar.turns import Phase, parse_phases

__all__ = ["CALL_WORDS", "Step", "StepNode", "Update", "parse_step", "step_of"]

CALL_WORDS = ("taps", "grad", "detach", "mode", "patch", "until")
"""Keys of a ``call`` that the engine reads; any other key is passed to the model's forward."""

UPDATE_WORDS = (
    "minimize",
    "train",
    "optimizer",
    "every",
    "gradient",
    "through",
    "average",
    "batch",
    "start",
    "groups",
)


@dataclass(frozen=True)
class StepNode:
    """A ``call`` of a model or an ``op``, with its inputs in the part's argument order."""

    node: Node
    taps: Mapping[str, str] = field(default_factory=dict)
    grad: bool = True
    detach: bool = False
    mode: str | None = None
    patch: tuple[str, ...] = ()
    until: str | None = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def role(self) -> str:
        """The model that a call runs."""
        return self.node.part.partition(".")[0]

    @property
    def inner(self) -> str:
        """The path of the inner module that a call runs by itself (``call: student.head``); empty for the whole."""
        return self.node.part.partition(".")[2]

    @property
    def params(self) -> dict[str, Any]:
        """Parameters for the op, or keyword arguments for the model's forward."""
        return {k: v for k, v in self.node.params.items() if self.node.verb == "op" or k not in CALL_WORDS}

    def scheduled(self) -> dict[str, Mapping[str, Any]]:
        """The parameters of an op that change while training: ``{schedule: NAME, ...}`` in place of a number."""
        given = self.params.items() if self.node.verb == "op" else ()
        return {k: v for k, v in given if isinstance(v, dict) and isinstance(v.get("schedule"), str)}


@dataclass(frozen=True)
class Update:
    """One parameter update of a step: what it minimizes, what it trains, and how."""

    name: str
    key: str
    minimize: Mapping[str, Any]
    train: tuple[str, ...]
    optimizer: str | Mapping[str, Any]
    every: int = 1
    start: int = 0
    gradient: tuple[Mapping[str, Any], ...] = ()
    through: Mapping[str, Any] | None = None
    average: Mapping[str, float] = field(default_factory=dict)
    batch: str = "data"
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()

    def roles(self) -> tuple[str, ...]:
        """The models that the update trains, in whole or (``student.blocks``) in part."""
        return tuple(dict.fromkeys(entry.split(".")[0] for entry in self.train))

    def trains(self, role: str, parameter: str) -> bool:
        """Whether the update trains the parameter of that name in the model ``role``: the longest entry decides."""
        name = f"{role}.{parameter}"
        found = [e for e in (*self.train, *self.frozen) if name == e or name.startswith(f"{e}.")]
        return bool(found) and max(found, key=len) in self.train


@dataclass(frozen=True)
class Step:
    """A step graph: nodes by name, updates in the order in which they run, and tensors that live across steps.

    ``alternate``: phases in which only some of the updates run. ``content``: all of it as it was written.
    """

    nodes: Mapping[str, StepNode]
    updates: tuple[Update, ...]
    key: str
    state: Mapping[str, Node] = field(default_factory=dict)
    alternate: tuple[Phase, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)

    def trained(self) -> tuple[str, ...]:
        """Roles that some update trains, in order of first mention."""
        return tuple(dict.fromkeys(role for update in self.updates for role in update.roles()))

    def trains(self, role: str, parameter: str) -> bool:
        """Whether some update trains the parameter of that name in the model ``role``."""
        return any(update.trains(role, parameter) for update in self.updates)

    def ancestors(self, names: Iterator[str] | list[str]) -> set[str]:
        """The nodes that ``names`` need, themselves included."""
        found: set[str] = set()
        todo = [n for n in names if n in self.nodes]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += [r.name for r in self.nodes[name].node.refs() if r.name in self.nodes]
        return found

    def order(self) -> list[str]:
        """Node names sorted topologically. Raises ``InputError`` on a cycle."""
        done: dict[str, bool] = {}
        result: list[str] = []

        def visit(name: str, path: list[str]) -> None:
            if done.get(name):
                return
            if name in done:
                cycle = " -> ".join([*path[path.index(name) :], name])
                raise InputError(f"these nodes wait for each other: {cycle}", key=self.nodes[name].node.key)
            done[name] = False
            for ref in self.nodes[name].node.refs():
                if ref.name in self.nodes:
                    visit(ref.name, [*path, name])
            done[name] = True
            result.append(name)

        for name in self.nodes:
            visit(name, [])
        return result


def step_of(node: Node) -> Step:
    """The step of a node of the run graph. It is parsed once a node: a long chain asks for it over and over. Raises as ``parse_step`` does."""
    remembered = vars(node)
    if "_step" not in remembered:
        remembered["_step"] = parse_step(node.params["step"], key=f"{node.key}.step")
    found: Step = remembered["_step"]
    return found


def parse_step(content: Any, *, key: str) -> Step:
    """Read ``{nodes: ..., updates: ..., state: ..., alternate: ...}``; without updates it is a function, used for scores and metrics."""
    if not isinstance(content, dict) or not isinstance(content.get("nodes"), dict):
        raise InputError("a step reads {nodes: {...}, updates: {...}}", key=key)
    for word in content:
        if word not in ("nodes", "updates", "state", "alternate"):
            raise InputError(f"a step has nodes, updates, state and alternate; not '{word}'", key=f"{key}.{word}")
    for name in [*content["nodes"], *(content.get("updates") or {})]:
        if not isinstance(name, str):
            raise InputError(f"{name!r} is no name (YAML reads yes, no, on, off, y and n as true and false)", key=key)
    nodes = {name: _step_node(name, body, f"{key}.nodes.{name}") for name, body in content["nodes"].items()}
    updates = content.get("updates") or {}
    if not isinstance(updates, dict):
        raise InputError("updates are a mapping from names to updates", key=f"{key}.updates")
    if not isinstance(content.get("state") or {}, dict):
        raise InputError("state is a mapping from names to ops", key=f"{key}.state")
    state = {
        name: parse_node(name, body, key=f"{key}.state.{name}", verbs=("op",))
        for name, body in (content.get("state") or {}).items()
    }
    for node in state.values():
        if list(node.refs()):
            raise InputError(
                "state starts from parameters and chance alone: it takes no 'from'", key=f"{node.key}.from"
            )
    parsed = tuple(_update(n, u, f"{key}.updates.{n}") for n, u in updates.items())
    phases: tuple[Phase, ...] = ()
    if content.get("alternate") is not None:
        phases = parse_phases(content["alternate"], {u.name: u.minimize for u in parsed}, key=f"{key}.alternate")
    step = Step(nodes, parsed, key, state, phases, content)
    return replace(step, updates=tuple(_without_silent(u, step) for u in step.updates))


def _without_silent(update: Update, step: Step) -> Update:
    """Leave out of ``train`` what only terms of weight 0 would call: with the term, its adapter goes."""

    def called(names: list[str]) -> set[str]:
        nodes = [step.nodes[n] for n in step.ancestors([n.split(".")[0] for n in names])]
        return {n.role for n in nodes if n.node.verb == "call"} | {r.name for n in nodes for r in n.node.refs()}

    loud = called([n for n, w in update.minimize.items() if isinstance(w, dict) or w != 0])
    silent = called(list(update.minimize)) - loud
    kept = tuple(entry for entry in update.train if entry.split(".")[0] not in silent)
    return replace(update, train=kept or update.train)


def _step_node(name: str, body: Any, key: str) -> StepNode:
    node = parse_node(name, body, key=key, verbs=("call", "op"))
    if node.verb == "op":
        return StepNode(node)
    taps = node.params.get("taps") or {}
    if not isinstance(taps, dict) or not all(isinstance(v, str) for v in taps.values()):
        raise InputError("taps map names to module paths", key=f"{key}.taps")
    mode = node.params.get("mode")
    if mode not in (None, "train", "eval"):
        raise InputError(f"mode is train or eval, got {mode!r}", key=f"{key}.mode")
    for flag in ("grad", "detach"):
        if not isinstance(node.params.get(flag, False), bool):
            raise InputError(f"{flag} is true or false", key=f"{key}.{flag}")
    patch = node.params.get("patch") or []
    if not isinstance(patch, list) or (patch and not (isinstance(node.inputs, list) and len(node.inputs) > len(patch))):
        raise InputError(
            "patch lists the modules whose outputs the last inputs replace: from: [batch.image, hidden], patch: [map_2]",
            key=f"{key}.patch",
        )
    until = node.params.get("until")
    if until is not None and not isinstance(until, str):
        raise InputError(f"until names the module where the call ends, got {until!r}", key=f"{key}.until")
    grad, detach = node.params.get("grad", True), node.params.get("detach", False)
    return StepNode(node, taps, grad, detach, mode, tuple(patch), until)


def _update(name: str, body: Any, key: str) -> Update:
    if not isinstance(body, dict):
        raise InputError("an update reads {minimize: {...}, train: [...], optimizer: ...}", key=key)
    for word in body:
        if word not in UPDATE_WORDS:
            raise InputError(f"an update has no '{word}'{nearest(word, UPDATE_WORDS)}", key=f"{key}.{word}")
    for word in ("minimize", "train", "optimizer"):
        if word not in body:
            raise InputError(f"this update lacks '{word}'", key=key)
    minimize = body["minimize"]
    if not isinstance(minimize, dict) or not minimize:
        raise InputError("minimize maps nodes to weights", key=f"{key}.minimize")
    every = body.get("every", 1)
    if isinstance(every, bool) or not isinstance(every, int) or every < 0:
        raise InputError(f"every is a whole number of steps (0: never), got {every!r}", key=f"{key}.every")
    train, frozen = _trained(body["train"], f"{key}.train")
    return Update(
        name=name,
        key=key,
        minimize=dict(minimize),
        train=train,
        frozen=frozen,
        optimizer=body["optimizer"],
        every=every,
        start=int(body.get("start", 0)),
        gradient=tuple(_transforms(body.get("gradient"), f"{key}.gradient")),
        through=body.get("through"),
        average=dict(body.get("average") or {}),
        batch=body.get("batch", "data"),
        groups=dict(body.get("groups") or {}),
    )


def _trained(content: Any, key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is trained and what is not: a list, or a mapping ``{student: true, student.head: false}``.

    Later layers can add to a mapping.
    """
    frozen = [name for name, wanted in content.items() if not wanted] if isinstance(content, dict) else []
    chosen = [name for name, wanted in content.items() if wanted] if isinstance(content, dict) else content
    if not isinstance(chosen, list) or not chosen or not all(isinstance(name, str) for name in chosen):
        raise InputError("train names what the update trains: [student], or {student: true, adapter: true}", key=key)
    return tuple(chosen), tuple(frozen)


def _transforms(content: Any, key: str) -> Iterator[Mapping[str, Any]]:
    """Gradient transforms: a list of nodes ``{gradient: clip_norm, max_norm: 1.0}``, or one of them."""
    if content is None:
        return
    for i, item in enumerate(content if isinstance(content, list) else [content]):
        if not isinstance(item, dict) or not isinstance(item.get("gradient"), str):
            raise InputError("a gradient transform reads {gradient: name, ...}", key=f"{key}.{i}")
        yield item
