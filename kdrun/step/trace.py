"""The shape pass: a step on fake tensors, forward and backward, with no data and no weights.

Finds sizes left ``auto``, the shape of every node's value, which trained parameters get a gradient,
parameter counts and FLOPs. Works for models far larger than this machine's memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from kdrun.data.dataset import Column
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.nodes import Node, Ref
from kdrun.grammar.steps import Step, StepNode, Update
from kdrun.models.building import build, is_resolved, resolve, uses_batch_statistics
from kdrun.registry import catalog
from kdrun.step.taps import Detour, Slot, inner_module, tap

__all__ = ["Trace", "initial_state", "trace"]

IN_SIZES = ("in_features", "in_channels")
OUT_SIZES = ("out_features", "out_channels", "num_classes")


@dataclass
class Trace:
    """What the shape pass found.

    ``outputs`` says per call whether the model returns a tensor, a mapping or an object with attributes;
    ``specs`` holds the resolved specification of every role; ``shapes`` the shape of each node's value; ``read`` what is
    known of the values that are read from outside; ``batch_statistics`` whether a trained model normalises batches;
    ``by_row`` the calls whose inputs, outputs and taps all have an entry a row.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    flops: int = 0
    activation_bytes: int = 0
    parameter_bytes: int = 0
    notes: list[str] = field(default_factory=list)
    batch_statistics: bool = False
    by_row: set[str] = field(default_factory=set)
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
    backward: bool = True,
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
    return _Tracer(step, resolved, tensors, columns, batch_size, rows or batch_size).run(backward, read)


class _Tracer:
    def __init__(
        self,
        step: Step,
        specs: dict[str, dict[str, Any]],
        tensors: Mapping[str, Any],
        columns: Mapping[str, Mapping[str, Column]],
        batch_size: int,
        rows: int,
    ) -> None:
        self.rows = rows
        self.step, self.specs, self.columns, self.batch_size = step, specs, columns, batch_size
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.tensors = dict(tensors)
        self.found = Trace()
        self.modules: dict[str, nn.Module] = {}
        self.parameters: dict[str, dict[str, Tensor]] = {}
        self.values: dict[tuple[str, str], Any] = {}
        self.slots: dict[tuple[str, str], Slot] = {}
        self.batches: dict[str, dict[str, Tensor]] = {}
        self.loader = "data"

    def run(self, backward: bool, read: Sequence[Ref]) -> Trace:
        counter = FlopCounterMode(display=False)
        with self.mode, counter:
            for name, node in self.step.state.items():
                self.tensors[name] = initial_state(node, self.rows, torch.Generator())
            for role, spec in self.specs.items():
                if is_resolved(spec):
                    self._build(role)
            for update in self.step.updates:
                if backward and update.every:
                    self._update(update)
            if not self.step.updates:
                for name in self.step.order():
                    self._value(Ref(name))
            self.loader = "data"
            for ref in read:
                value = self._value(ref)
                self.found.read[str(ref)] = (
                    Column(tuple(value.shape), value.dtype) if isinstance(value, Tensor) else None
                )
        self.found.flops = counter.get_total_flops()
        self.found.specs = self.specs
        shapes = {name: _shape(value) for (name, _), value in self.values.items() if name in self.step.nodes}
        self.found.shapes = shapes
        return self.found

    def _build(self, role: str) -> None:
        """Build on the meta device, outside the fake mode: constructors read values."""
        with torch._subclasses.fake_tensor.unset_fake_temporarily(), torch.device("meta"):
            module = build(self.specs[role])
        trained = role in self.step.trained()
        module.train(trained)
        state = {
            name: torch.empty(
                value.shape,
                dtype=value.dtype,
                device="cpu",
                requires_grad=value.requires_grad and self.step.trains(role, name),
            )
            for name, value in [*module.named_parameters(), *module.named_buffers()]
        }
        self.modules[role] = module
        self.found.batch_statistics |= trained and uses_batch_statistics(module)
        self.parameters[role] = state
        names = {n for n, _ in module.named_parameters()}
        self.found.parameters[role] = sum(state[n].numel() for n in names)
        self.found.parameter_bytes += sum(v.numel() * v.element_size() for v in state.values()) * (4 if trained else 1)

    def _update(self, update: Update) -> None:
        self.loader = update.batch
        terms = {}
        for name, weight in update.minimize.items():
            if not isinstance(weight, dict) and weight == 0:
                continue
            value = self._value(Ref.parse(name, key=update.key))
            if not isinstance(value, Tensor) or value.dim() > 0:
                raise InputError(
                    f"'{name}' is no scalar but of shape {_shape(value)}: a loss needs a reduction",
                    key=f"{update.key}.minimize.{name}",
                )
            terms[name] = value
        if not terms:
            raise InputError("all weights of this update are 0: nothing to minimize", key=f"{update.key}.minimize")
        if update.through is not None:
            inner = next(u for u in self.step.updates if u.name == update.through["update"])
            self.loader = inner.batch
            for name, weight in inner.minimize.items():
                if isinstance(weight, dict) or weight != 0:
                    self._value(Ref.parse(name, key=inner.key))
            self.found.notes.append(
                f"{update.name}: gradients through '{update.through['update']}' are checked when it runs"
            )
            return
        self._gradients(update, sum(terms.values()))  # type: ignore[arg-type]

    def _gradients(self, update: Update, loss: Tensor) -> None:
        wanted = {
            f"{role}.{name}": self.parameters[role][name]
            for role in update.roles()
            if role in self.modules
            for name, _ in self.modules[role].named_parameters()
            if self.parameters[role][name].requires_grad and update.trains(role, name)
        }
        for entry in update.train:
            if "." in entry and not any(name == entry or name.startswith(f"{entry}.") for name in wanted):
                raise InputError(f"'{entry}' names no parameters of a trained model", key=f"{update.key}.train")
        for role in update.roles():
            if role not in self.modules:
                raise InputError(
                    f"'{role}' is trained but never called: no gradient reaches it", key=f"{update.key}.train"
                )
        if not loss.requires_grad:
            raise InputError(
                f"nothing that this update trains enters its loss ({', '.join(update.minimize)})", key=update.key
            )
        # The graph is kept: another update may read the same values.
        gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, retain_graph=True)
        # A model that is only ever called up to an inner module keeps what lies behind as it is.
        cut = {
            r
            for r in update.roles()
            if all(n.until for n in self.step.nodes.values() if n.node.verb == "call" and n.role == r)
        }
        unreached = [
            name
            for name, gradient in zip(wanted, gradients, strict=True)
            if gradient is None and name.split(".")[0] not in cut
        ]
        if unreached:
            more = f" and {len(unreached) - 1} more" if len(unreached) > 1 else ""
            raise InputError(f"trained, but no gradient reaches {unreached[0]}{more}", key=f"{update.key}.train")

    def _batch(self, loader: str, column: str, key: str) -> Tensor:
        columns = self.columns.get(loader, {})
        if column not in columns and column != "index":
            raise InputError(
                f"the data has no column '{column}'{nearest(column, columns)}; it has: {', '.join(columns)}", key=key
            )
        batch = self.batches.setdefault(loader, {})
        if column not in batch:
            described = columns.get(column, Column((), torch.int64))
            batch[column] = torch.empty((self.batch_size, *described.shape), dtype=described.dtype)
        return batch[column]

    def _value(self, ref: Ref, key: str = "") -> Any:
        if ref.name == "batch":
            return self._batch(self.loader, ref.field[0], key)
        if ref.name in self.columns:
            return self._batch(ref.name, ref.field[0], key)
        if ref.name in self.step.nodes:
            return self._node_value(ref, key)
        if ref.name in self.specs:
            if ref.name not in self.modules:
                raise InputError(f"the sizes of '{ref.name}' are not known where it is read", key=key)
            return {n: self.parameters[ref.name][n] for n, _ in self.modules[ref.name].named_parameters()}
        value = self.tensors[ref.name]
        for piece in ref.field:
            value = value[piece] if isinstance(value, Mapping) else value[int(piece)]
        return tree_map(_fake, value, is_leaf=lambda v: isinstance(v, Column))

    def _node_value(self, ref: Ref, key: str) -> Any:
        node = self.step.nodes[ref.name]
        label = (ref.name, self.loader)
        if label not in self.values:
            self.values[label] = self._call(node) if node.node.verb == "call" else self._op(node)
        value = self.values[label]
        if not ref.field:
            return value
        field_name = ref.field[0]
        if node.node.verb == "op":
            return value[int(field_name)] if field_name.isdigit() else value[field_name]
        tapped = (f"{ref.name}.{field_name}", self.loader)
        if tapped in self.values:
            return self.values[tapped]
        return self._output(ref.name, value, field_name, key)

    def _output(self, name: str, value: Any, field_name: str, key: str) -> Any:
        if field_name == "probabilities":
            return self._output(name, value, "logits", key).softmax(-1)
        if field_name == "output" or (isinstance(value, Tensor) and field_name == "logits"):
            return value
        if isinstance(value, Mapping) and field_name in value:
            return value[field_name]
        if not isinstance(value, Tensor) and hasattr(value, field_name):
            return getattr(value, field_name)
        known = (
            ["logits", "probabilities"]
            if isinstance(value, Tensor)
            else list(value)
            if isinstance(value, Mapping)
            else []
        )
        taps = list(self.step.nodes[name].taps)
        raise InputError(
            f"'{name}' has no field '{field_name}'{nearest(field_name, [*known, *taps])}; it has: {', '.join([*known, *taps])}",
            key=key,
        )

    def _op(self, node: StepNode) -> Any:
        part = catalog().get("op", node.node.part)
        bound = part.bind(node.node.inputs, key=node.node.key)
        key = f"{node.node.key}.from"
        arguments: list[Any] = []
        named: dict[str, Any] = {}
        for item in part.inputs:
            if item.name not in bound:
                continue
            given = bound[item.name]
            value = [self._value(r, key) for r in given] if isinstance(given, list) else self._value(given, key)
            if item.variadic:
                arguments += value
            else:
                named[item.name] = value
        options = dict(node.params)
        if "generator" in part.injected:
            options["generator"] = torch.Generator()
        function = part.load()
        given_values = [*named.values(), *arguments]
        if arguments:
            return self._guarded(node, lambda: function(*given_values, **options), given_values)
        return self._guarded(node, lambda: function(**named, **options), given_values)

    def _call(self, node: StepNode) -> Any:
        role = node.role
        key = f"{node.node.key}.from"
        inputs = [self._value(r, key) for r in node.node.refs()]
        if role not in self.modules:
            self._find_sizes(role, node, inputs)
            self._build(role)
        module, prefix = inner_module(self.modules[role], node.inner, key=f"{node.node.key}.call")
        parameters = {n.removeprefix(prefix): p for n, p in self.parameters[role].items() if n.startswith(prefix)}
        slots = {
            name: self._slot(node.node.part, module, path, f"{node.node.key}.taps.{name}")
            for name, path in node.taps.items()
        }
        detour = Detour(module, node.patch, node.until, key=node.node.key)
        if node.detach:
            inputs = [i.detach() for i in inputs]
        names = list(node.node.inputs) if isinstance(node.node.inputs, dict) else []
        options = {**node.params, **dict(zip(names, inputs, strict=False))}
        positional = [] if names else inputs

        def run() -> Any:
            with torch.set_grad_enabled(node.grad):
                return detour.run(
                    lambda *given, **more: torch.func.functional_call(module, parameters, given, more),
                    positional,
                    options,
                )

        value = self._guarded(node, run, inputs)
        kind = "tensor" if isinstance(value, Tensor) else "mapping" if isinstance(value, Mapping) else "object"
        self.found.outputs[node.name] = kind
        tapped = {name: slot.take() for name, slot in slots.items()}
        self.values.update({(f"{node.name}.{name}", self.loader): seen for name, seen in tapped.items()})
        if inputs and all(_by_row(v, self.batch_size) for v in [*inputs, value, *tapped.values()]):
            self.found.by_row.add(node.name)
        return value

    def _slot(self, part: str, module: nn.Module, path: str, key: str) -> Slot:
        if (part, path) not in self.slots:
            self.slots[part, path] = tap(module, path, key=key)
        return self.slots[part, path]

    def _find_sizes(self, role: str, node: StepNode, inputs: list[Any]) -> None:
        """Resolve ``auto``: input sizes from the tensor fed, output sizes from what it is compared with."""
        spec = self.specs[role]
        sizes: dict[str, int] = {}
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].dim() > 1:
            sizes = dict.fromkeys(IN_SIZES, inputs[0].shape[-1] if inputs[0].dim() == 3 else inputs[0].shape[1])
        wanted = [n for n in OUT_SIZES if spec.get(n) == "auto"]
        if wanted:
            partner = self._partner(node)
            if partner is None:
                raise InputError(
                    f"the size '{wanted[0]}' of '{role}' cannot be found: nothing it is compared with has a known shape",
                    key=node.node.key,
                )
            sizes.update(dict.fromkeys(OUT_SIZES, partner.shape[-1] if partner.dim() == 3 else partner.shape[1]))
        self.specs[role] = resolve(spec, sizes)

    def _partner(self, node: StepNode) -> Tensor | None:
        """The first tensor that an op reads beside this model's output and that does not depend on it."""
        others = [n.name for n in self.step.nodes.values() if n.node.verb == "call" and n.role == node.role]
        todo, seen = [node.name, *(n for n in others if n != node.name)], set()
        while todo:
            name = todo.pop(0)
            seen.add(name)
            for other in self.step.nodes.values():
                refs = list(other.node.refs())
                if other.node.verb != "op" or name not in [r.name for r in refs]:
                    continue
                for ref in refs:
                    if ref.name in seen or (
                        ref.name in self.step.nodes and self.step.ancestors([ref.name]) & set(others)
                    ):
                        continue
                    if ref.name == "batch":
                        continue
                    value = self._value(ref, f"{other.node.key}.from")
                    if isinstance(value, Tensor) and value.dim() > 1:
                        return value
                todo.append(other.name)
        return None

    def _guarded(self, node: StepNode, run: Callable[[], Any], inputs: list[Any]) -> Any:
        """Run, turning torch's complaint about shapes into one line that names the node and what it was given."""
        try:
            return run()
        except KdrunError:
            raise
        except Exception as error:
            given = ", ".join(f"{ref} {_shape(value)}" for ref, value in zip(node.node.refs(), inputs, strict=False))
            reason = str(error).strip().split("\n", 1)[0][:200]
            raise InputError(
                f"'{node.name}' ({node.node.verb} {node.node.part}) does not fit its inputs {given}: {reason}",
                key=node.node.key,
            ) from error


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


def _by_row(value: Any, rows: int) -> bool:
    """Whether every tensor in a value has ``rows`` entries."""
    return all(isinstance(v, Tensor) and v.dim() > 0 and len(v) == rows for v in tree_leaves(value) if v is not None)


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return list(value.shape)
    if isinstance(value, Mapping):
        return {k: _shape(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_shape(v) for v in value]
    return type(value).__name__


def numel(shape: list[int]) -> int:
    """Number of elements of a shape."""
    return math.prod(shape)
