"""Planning a step: its instructions on fake tensors, forward and backward, with no data and no weights.

Finds sizes left ``auto``, the shape of every node's value, which trained parameters get a gradient,
parameter counts and FLOPs. Works for models far larger than this machine's memory.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from kdrun.data.dataset import Column
from kdrun.errors import InputError
from kdrun.grammar.nodes import Node, Ref
from kdrun.grammar.steps import Step, Update
from kdrun.models.building import resolve, uses_batch_statistics
from kdrun.registry import catalog
from kdrun.runtime.fakes import described, on_fakes
from kdrun.step.compiler import Segment
from kdrun.step.flops import flop_counter
from kdrun.step.rehearsal import Rehearsal, shape_text
from kdrun.step.virtual import virtual_steps

__all__ = ["Trace", "initial_state", "trace", "trace_once"]

REMEMBERED = 1000
"""How many traces a process keeps."""


@dataclass
class Trace:
    """What planning a step found.

    ``outputs`` says per call whether the model returns a tensor, a mapping or an object with attributes;
    ``specs`` holds the resolved specification of every role; ``shapes`` the shape of each node's value; ``read`` what is
    known of the values that are read from outside; ``batch_statistics`` whether a trained model normalises batches;
    ``by_row`` the calls whose inputs, outputs and taps all have an entry a row; ``copied``, per call, the taps whose values what
    comes after changes in place.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    flops: int = 0
    parameter_bytes: int = 0
    batch_statistics: bool = False
    by_row: set[str] = field(default_factory=set)
    copied: dict[str, set[str]] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)


def trace(
    step: Step,
    *,
    specs: Mapping[str, Mapping[str, Any]],
    tensors: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, Column]],
    batch_size: int,
    sizes: Mapping[str, int],
    extra: Mapping[str, Mapping[str, Any]] | None = None,
    rows: int | None = None,
    read: Sequence[Ref] = (),
) -> Trace:
    """Push one fake batch through ``step``.

    ``specs`` are the specifications of the models handed in, whose ``auto`` sizes come from the data (``sizes``);
    ``extra`` those of the step's own models, whose sizes come from what they are fed and compared with;
    ``tensors`` the shapes and dtypes of tensors handed in
    (``Column`` including all axes, or a nested mapping of them), ``columns`` the row shapes of each loader,
    ``rows`` the number of rows of ``data``, for state with one entry a row, ``read`` what is read from outside.
    Raises ``InputError`` for shapes that do not fit, a missing column, tap or field, a loss that is not a
    scalar, or a trained parameter that no gradient reaches.
    """
    resolved = {role: resolve(spec, sizes) for role, spec in specs.items()}
    resolved.update({role: resolve(spec, {"rows": rows or batch_size}) for role, spec in (extra or {}).items()})
    with on_fakes():
        state = {name: initial_state(node, rows or batch_size, torch.Generator()) for name, node in step.state.items()}
        given = {
            name: tree_map(_fake, value, is_leaf=lambda v: isinstance(v, Column)) for name, value in tensors.items()
        }
        rehearsal = Rehearsal(step, resolved, {**given, **state}, columns, batch_size)
        active = [update for update in step.updates if update.every]
        _find_sizes(rehearsal, active)
        with flop_counter() as counter:
            if active:
                _run_updates(rehearsal, active)
            elif not step.updates:
                for name in step.order():
                    rehearsal.value(Ref(name))
        found = Trace(specs=resolved, flops=counter.get_total_flops())
        found.read = {str(ref): _tensor(rehearsal.value(ref)) for ref in read}
        _describe(rehearsal, found)
    return found


def trace_once(step: Step, **given: Any) -> Trace:
    """``trace``, made once in a process for steps that say the same of inputs of the same kind, whatever stages they stand in."""
    if not step.state and not given.get("extra"):
        given = {**given, "rows": None}  # nothing has as many entries
    memo, label = catalog().memo, json.dumps(["trace", step.content, given], sort_keys=True, default=str)
    if label not in memo:
        if len(memo) >= REMEMBERED:
            memo.clear()
        memo[label] = trace(step, **given)
    found: Trace = memo[label]
    return replace(found, specs=copy.deepcopy(found.specs))


def _find_sizes(rehearsal: Rehearsal, active: Sequence[Update]) -> None:
    """The sizes of all models that some update calls, each update reading its own loader."""
    for update in active:
        inner = [u for u in rehearsal.step.updates if update.through and u.name == update.through["update"]]
        for one in [update, *inner]:
            nodes = rehearsal.step.ancestors([name.partition(".")[0] for name in _terms(one)])
            rehearsal.sizes.find(nodes, one.batch)


def _terms(update: Update) -> list[str]:
    return [name for name, weight in update.minimize.items() if isinstance(weight, dict) or weight != 0]


def _run_updates(rehearsal: Rehearsal, active: Sequence[Update]) -> None:
    """Every update once, in order: its loss, and the gradients of what it trains."""
    for segment in rehearsal.compiler.compile(active):
        if segment.inner is not None:
            rehearsal.run([])
            rate = 1e-3 if segment.inner.update.every else None  # any will do; an update that never runs has none
            virtual_steps(segment, rehearsal.registers, partial(_loss, rehearsal), rehearsal.modules, rate=rate)
        _check_gradients(rehearsal, segment.update, _loss(rehearsal, segment))


def _loss(rehearsal: Rehearsal, segment: Segment) -> Tensor:
    rehearsal.run(segment.instructions)
    terms = []
    for name, register, _ in segment.terms:
        value = rehearsal.registers[register]
        if not isinstance(value, Tensor) or value.dim() > 0:
            raise InputError(
                f"'{name}' is no scalar but of shape {shape_text(value)}: a loss needs a reduction",
                key=f"{segment.update.key}.minimize.{name}",
            )
        terms.append(value)
    return torch.stack([term.float() for term in terms]).sum()


def _check_gradients(rehearsal: Rehearsal, update: Update, loss: Tensor) -> None:
    """Raise ``InputError`` for a trained parameter that the loss does not reach."""
    wanted = {
        f"{role}.{name}": parameter
        for role in update.roles()
        if role in rehearsal.modules
        for name, parameter in rehearsal.modules[role].named_parameters()
        if parameter.requires_grad and update.trains(role, name)
    }
    for entry in update.train:
        if "." in entry and not any(name == entry or name.startswith(f"{entry}.") for name in wanted):
            raise InputError(f"'{entry}' names no parameters of a trained model", key=f"{update.key}.train")
    for role in update.roles():
        if role not in rehearsal.modules:
            raise InputError(f"'{role}' is trained but never called: no gradient reaches it", key=f"{update.key}.train")
    if not loss.requires_grad:
        raise InputError(
            f"nothing that this update trains enters its loss ({', '.join(update.minimize)})", key=update.key
        )
    # The graph is kept: another update may read the same values.
    gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, retain_graph=True)
    cut = _cut_short(rehearsal.step, update)
    unreached = [
        name
        for name, gradient in zip(wanted, gradients, strict=True)
        if gradient is None and name.split(".")[0] not in cut
    ]
    if unreached:
        more = f" and {len(unreached) - 1} more" if len(unreached) > 1 else ""
        raise InputError(f"trained, but no gradient reaches {unreached[0]}{more}", key=f"{update.key}.train")


def _cut_short(step: Step, update: Update) -> set[str]:
    """Models that are only ever called up to an inner module: they keep what lies behind as it is."""
    calls = [n for n in step.nodes.values() if n.node.verb == "call"]
    return {role for role in update.roles() if all(n.until for n in calls if n.role == role)}


def _describe(rehearsal: Rehearsal, found: Trace) -> None:
    """Note what is known of models and values."""
    step = rehearsal.step
    found.copied = rehearsal.compiler.supply.spoilt
    for role, module in rehearsal.modules.items():
        trained = role in step.trained()
        state = dict([*module.named_parameters(), *module.named_buffers()])
        found.batch_statistics |= trained and uses_batch_statistics(module)
        found.parameters[role] = sum(p.numel() for p in module.parameters())
        found.parameter_bytes += sum(v.numel() * v.element_size() for v in state.values()) * (4 if trained else 1)
    layout = rehearsal.layout
    for (label, loader), register in layout.made.items():
        name, _, inner = label.partition(".")
        value = rehearsal.registers[register]
        if inner:
            continue
        found.shapes[name] = shape_text(value)
        if step.nodes[name].node.verb == "call":
            kind = "tensor" if isinstance(value, Tensor) else "mapping" if isinstance(value, Mapping) else "object"
            found.outputs[name] = kind
            if _is_by_row(rehearsal, name, loader, value):
                found.by_row.add(name)


def _is_by_row(rehearsal: Rehearsal, name: str, loader: str, value: Any) -> bool:
    """Whether a call's inputs, output and taps all have an entry a row."""
    node = rehearsal.step.nodes[name]
    layout, r = rehearsal.layout, rehearsal.registers
    read = [r[i] for i in layout.read[name, loader]]
    tapped = [r[layout.made[f"{name}.{tap}", loader]] for tap in node.taps]
    return bool(read) and all(_by_row(v, rehearsal.batch_size) for v in [*read, value, *tapped])


def _by_row(value: Any, rows: int) -> bool:
    return all(isinstance(v, Tensor) and v.dim() > 0 and len(v) == rows for v in tree_leaves(value) if v is not None)


def initial_state(node: Node, rows: int, generator: torch.Generator) -> Tensor:
    """What an entry of a step's ``state`` starts as; a size left ``auto`` is the number of rows of the data."""
    part = catalog().get("op", node.part)
    options = {k: rows if v == "auto" else v for k, v in node.params.items()}
    if "generator" in part.injected:
        options["generator"] = generator
    value = part.load()(**options)
    assert isinstance(value, Tensor)
    return value


def _fake(column: Any) -> Any:
    return torch.empty(column.shape, dtype=column.dtype) if isinstance(column, Column) else column


def _tensor(value: Any) -> Column | None:
    return described(value) if isinstance(value, Tensor) else None
