"""Planning: the whole graph on fake tensors, with no data, no weights and no device.

Each stage is given what is known of its inputs (a model's specification, a data set's columns, a tensor's
shape) and says what is known of its result. A train stage is traced forward and backward; a registered part
of another kind is run on fake tensors. What can be known only by running is noted as such.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Column, DataInfo, Dataset, MemoryDataset, few_left_over
from kdrun.engine.executor import main_role
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.nodes import SOURCES, Graph, Node, Ref
from kdrun.grammar.steps import Step, parse_step
from kdrun.graph.check import ENGINE_KEYS, step_readers
from kdrun.graph.keys import Keys
from kdrun.graph.types import part_of
from kdrun.models.building import build, resolve, sizes_from_data
from kdrun.registry import Part, catalog
from kdrun.runtime.artifacts import Model
from kdrun.step.trace import Trace, trace

__all__ = ["Known", "Plan", "StagePlan", "plan"]


@dataclass(frozen=True)
class StagePlan:
    """What is known of one stage before it runs.

    ``parameters`` counts scalars per role; ``flops`` are per step of ``batch_size`` rows, forward and backward;
    ``memory`` is in bytes: weights, gradients and optimizer state, without activations.
    """

    name: str
    kind: str
    key: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    flops: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    memory: int | None = None
    shapes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unplanned: bool = False
    """Whether a step stage waits for what is known only when earlier stages have run."""


@dataclass(frozen=True)
class Plan:
    """All stages in order of execution."""

    stages: tuple[StagePlan, ...]

    @property
    def total_flops(self) -> int:
        """FLOPs of all training steps whose number is known."""
        return sum((s.flops or 0) * (s.steps or 0) for s in self.stages)


class _Unknown:
    """A value that only running the stage can tell."""


UNKNOWN = _Unknown()


Known = dict[str, tuple[dict[str, Any], StagePlan]]
"""By a stage's key, what is known of its result and its plan: arms that share a stage plan it once."""


def plan(graph: Graph, keys: Keys, known: Known | None = None) -> Plan:
    """Plan a checked graph. Raises ``InputError`` (with the config key) for what cannot work.

    ``known`` is read and added to: the stages of other graphs that were planned before.
    """
    return _Planner(graph, keys, {} if known is None else known).run()


class _Planner:
    def __init__(self, graph: Graph, keys: Keys, before: Known) -> None:
        self.graph, self.keys, self.before = graph, keys, before
        self.known: dict[str, dict[str, Any]] = {}
        self.infos: dict[str, Mapping[str, Any]] = {}
        self.traces: dict[str, Trace] = {}

    def run(self) -> Plan:
        stages = []
        for node in self.graph:
            if node.verb in SOURCES:
                continue
            key = self.keys[node.name]
            try:
                if key not in self.before:
                    stage = self._stage(node)
                    self.before[key] = self.known[node.name], stage
            except KdrunError as error:
                error.key = error.key or node.key
                raise
            self.known[node.name], found = self.before[key]
            stages.append(found)
        return Plan(tuple(stages))

    def _stage(self, node: Node) -> StagePlan:
        part = part_of(node)
        bound = part.bind(node.inputs, key=node.key)
        values = {n: [self._value(r) for r in i] if isinstance(i, list) else self._value(i) for n, i in bound.items()}
        base: dict[str, Any] = {
            "name": node.name,
            "kind": f"{node.part}{f' by {node.by}' if node.by else ''}",
            "key": self.keys[node.name],
        }
        if node.verb == "stage" and node.part == "search":
            return self._search(node, base)
        if node.verb == "stage" and node.part == "predict":
            self.known[node.name], notes = self._predicted(node, values)
            return StagePlan(**base, notes=notes)
        if node.verb == "stage" and node.by is None and "step" in node.params:
            return self._stepped(node, values, base)
        if node.verb == "stage" and node.by is None:
            self._metrics(node, values)
            self.known[node.name] = {"": UNKNOWN}
            return StagePlan(**base)
        self.known[node.name], notes = self._part(node, values)
        return StagePlan(**base, notes=notes)

    def _value(self, ref: Ref) -> Any:
        node = self.graph.nodes[ref.name]
        if node.verb == "model":
            return Model({"model": node.part, **node.params}, None)
        if node.verb == "optimizer":
            return None
        if node.verb == "data":
            value: Any = self._info(node)
            for piece in ref.field:
                if isinstance(value, Mapping) and piece not in value:
                    raise InputError(f"the data has no split '{piece}'{nearest(piece, value)}", key=node.key)
                value = value[int(piece)] if isinstance(value, list) else value[piece]
            return value
        return self._of_stage(node, ref)

    def _of_stage(self, node: Node, ref: Ref) -> Any:
        fields = self.known[node.name]
        for cut in range(len(ref.field), -1, -1):
            name = ".".join(ref.field[:cut]) or main_role(node)
            if name in fields:
                value = fields[name]
                for piece in ref.field[cut:]:
                    if isinstance(value, _Unknown):
                        return UNKNOWN
                    if isinstance(value, Column):
                        value = Column(value.shape[1:], value.dtype)
                        continue
                    value = value[int(piece)] if piece.isdigit() and not isinstance(value, Mapping) else value[piece]
                return value
        return UNKNOWN

    def _info(self, node: Node) -> Mapping[str, Any]:
        if node.name not in self.infos:
            own = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["data"]}
            self.infos[node.name] = part_of(node).load()(**own).info()
        return self.infos[node.name]

    def _stepped(self, node: Node, values: dict[str, Any], base: dict[str, Any]) -> StagePlan:
        named = (
            {n: self._value(i) for n, i in node.inputs.items() if not isinstance(i, list)}
            if isinstance(node.inputs, dict)
            else {}
        )
        values = {**values, **named}
        infos = {n: v for n, v in values.items() if isinstance(v, DataInfo)}
        models = {n: v for n, v in values.items() if isinstance(v, Model)}
        step = parse_step(node.params["step"], key=f"{node.key}.step")
        batch_size = int(node.params.get("batch_size", 64))
        extra = dict(node.params.get("models") or {})
        roles = list(dict.fromkeys([*step.trained(), *models, *extra]))
        if "data" not in infos or any(isinstance(v, _Unknown) for v in values.values()):
            self.known[node.name] = dict.fromkeys(roles, UNKNOWN)
            return StagePlan(
                **base,
                batch_size=batch_size,
                notes=("not planned: it depends on what an earlier stage finds when it runs",),
                unplanned=True,
            )
        found = self._traced(
            node.params["step"],
            step,
            specs={n: m.spec for n, m in models.items()},
            extra=extra,
            tensors={n: _describe(v) for n, v in values.items() if isinstance(v, Column | dict)},
            columns={n: i.columns for n, i in infos.items()},
            batch_size=batch_size,
            sizes=sizes_from_data(infos["data"]),
            rows=infos["data"].size,
            read=[ref for refs, _ in step_readers(node) for ref in refs],
        )
        self.known[node.name] = _trained_models(found, step.updates) if step.updates else {"": UNKNOWN}
        if node.part == "compute":
            self.known[node.name] = _computed(found, infos["data"].size or batch_size)
        if node.params.get("refresh"):
            self.known[node.name]["chosen"] = Column((infos["data"].size or batch_size,), torch.int64)
        return StagePlan(
            **base,
            parameters=found.parameters,
            flops=found.flops,
            steps=_steps(node.params, infos["data"].size, batch_size) if step.updates else None,
            batch_size=batch_size,
            memory=found.parameter_bytes,
            shapes=found.shapes,
            notes=(*found.notes, *_small_last_batch(node.params, found, infos["data"].size, batch_size)),
        )

    def _traced(self, content: Any, step: Step, **given: Any) -> Trace:
        """The shape pass, once for stages that differ in name alone (those of a loop)."""
        label = json.dumps([content, given], sort_keys=True, default=str)
        if label not in self.traces:
            self.traces[label] = trace(step, **given)
        return self.traces[label]

    def _search(self, node: Node, base: dict[str, Any]) -> StagePlan:
        """Any candidate stands for the best: its scores are traced, and later stages are planned with it."""
        space = dict(node.params["space"])
        part = catalog().get("space", space.pop("space"), key=f"{node.key}.space")
        example = Model(part.load()(**space).sample(torch.Generator().manual_seed(0)), None)
        named = {n: self._value(i) for n, i in dict(node.inputs).items() if not isinstance(i, list)}  # type: ignore[arg-type]
        infos = {n: v for n, v in named.items() if isinstance(v, DataInfo)}
        models = {**{n: v for n, v in named.items() if isinstance(v, Model)}, "candidate": example}
        parameters: dict[str, int] = {}
        for name, content in node.params["scores"].items():
            if "nodes" not in content or "data" not in infos:
                continue
            step = parse_step({"nodes": content["nodes"]}, key=f"{node.key}.scores.{name}")
            found = trace(
                step,
                specs={n: m.spec for n, m in models.items()},
                tensors={n: _describe(v) for n, v in named.items() if isinstance(v, Column | dict)},
                columns={n: i.columns for n, i in infos.items()},
                batch_size=int(node.params.get("batch_size", 64)),
                sizes=sizes_from_data(infos["data"]),
            )
            parameters.update(found.parameters)
        spec = resolve(example.spec, sizes_from_data(infos["data"])) if "data" in infos else example.spec
        chosen = Model(spec, None)
        self.known[node.name] = {
            "": UNKNOWN,
            "best": chosen,
            "candidates": [chosen] * int(node.params.get("keep") or 0),
        }
        return StagePlan(**base, parameters=parameters, notes=("planned with an arbitrary candidate",))

    def _predicted(self, node: Node, values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Run the stage on a few fake rows; what it gives has as many as the data."""
        data, models = values.get("data"), values.get("model")
        if (
            not isinstance(data, DataInfo)
            or data.size is None
            or any(isinstance(v, _Unknown) for v in _flatten([models]))
        ):
            return {"": UNKNOWN}, ("depends on what an earlier stage finds",)
        few = replace(data, size=2)
        try:
            with _on_fakes():
                options = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["stage"]}
                context: Any = _FakeContext(node, sizes_from_data(data))
                found = part_of(node).load()(models, _fake(few, {}), context=context, **options)
        except InputError:
            raise
        except Exception:
            return {"": UNKNOWN}, ("its result's shape is known only when it has run",)
        axis = 1 if isinstance(models, list) else 0
        shapes = {n: artifact.values[""] for n, artifact in found.items()}
        return {n: Column((*v.shape[:axis], data.size, *v.shape[axis + 1 :]), v.dtype) for n, v in shapes.items()}, ()

    def _metrics(self, node: Node, values: Mapping[str, Any]) -> None:
        """A model that is evaluated must be buildable for the data at hand."""
        infos = [v for v in values.values() if isinstance(v, DataInfo)]
        for value in values.values():
            for model in value if isinstance(value, list) else [value]:
                if isinstance(model, Model) and model.state is None and infos:
                    _meta(resolve(model.spec, sizes_from_data(infos[0])))

    def _part(self, node: Node, values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Run a part on fake tensors; what that cannot do is unknown until it runs."""
        if any(isinstance(v, _Unknown) for v in _flatten(values.values())):
            return {"": UNKNOWN}, ("depends on what an earlier stage finds",)
        infos = [v for v in _flatten(values.values()) if isinstance(v, DataInfo)]
        sizes = sizes_from_data(infos[0]) if infos else {}
        part = part_of(node)
        options = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["stage"]}
        rows = infos[0].size if infos and part.kind == "generate" else None
        if rows is not None:  # what is generated for one row is known for all
            values = {n: replace(v, size=2) if isinstance(v, DataInfo) else v for n, v in values.items()}
        try:
            with _on_fakes():
                if "context" in part.injected:
                    options["context"] = _FakeContext(node, sizes)
                if "generator" in part.injected:
                    options["generator"] = torch.Generator()
                faked = {n: _fake(v, sizes) for n, v in values.items()}
                positional = faked.pop(part.inputs[-1].name, []) if part.variadic else []
                returned = (
                    part.load()(*[*faked.values(), *positional], **options)
                    if positional
                    else part.load()(**faked, **options)
                )
                known = _known(returned)
                return {"": replace(known, size=rows) if rows and isinstance(known, DataInfo) else known}, ()
        except Exception as error:
            if isinstance(error, InputError) and all(info.size is not None for info in infos):
                raise
            if part.kind == "partition":
                return {"": _unknown_parts(part, node, values)}, (
                    "how many rows its parts have is known only when it has run",
                )
            if part.returns == "Dataset" and infos:  # which rows is unknown, but not what a row is
                return {"": replace(infos[0], size=None)}, ("how many rows it gives is known only when it has run",)
            return {"": UNKNOWN}, ("its result's shape is known only when it has run",)


class _FakeContext:
    """Stands for a stage's context while its part runs on fake tensors."""

    def __init__(self, node: Node, sizes: Mapping[str, int]) -> None:
        from kdrun.runtime.hardware import Hardware

        self.name, self.key, self.config_key, self.sizes = node.name, "", node.key, sizes
        self.hardware = Hardware.__new__(Hardware)
        self.hardware.settings, self.hardware.precision, self.hardware.workers = {}, "fp32", 0
        self.device = self.hardware.device = torch.device("cpu")

    def generator(self, *labels: object) -> torch.Generator:
        return torch.Generator()

    def module(self, model: Model, *, role: str = "model") -> nn.Module:
        return _fake_module(resolve(model.spec, self.sizes))


def _meta(spec: Mapping[str, Any]) -> nn.Module:
    with torch._subclasses.fake_tensor.unset_fake_temporarily(), torch.device("meta"):
        return build(spec)


@contextlib.contextmanager
def _on_fakes() -> Iterator[None]:
    """Tensors without values; torch's warning that a copy of them has no memory either is left out."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield


def _fake_module(spec: Mapping[str, Any]) -> nn.Module:
    """A module whose weights are fake tensors on the CPU; to be called inside a fake mode."""
    module = _meta(spec).eval()
    for inner in module.modules():
        for name, value in list(inner._parameters.items()):
            if value is not None:
                inner._parameters[name] = nn.Parameter(torch.empty(value.shape, dtype=value.dtype))
        for name, buffer in list(inner._buffers.items()):
            if buffer is not None:
                inner._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return module


def _fake(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, list):
        return [_fake(v, sizes) for v in value]
    if isinstance(value, Model):
        return _fake_module(resolve(value.spec, sizes))
    if isinstance(value, DataInfo):
        rows = value.size or 8
        return MemoryDataset({n: torch.empty((rows, *c.shape), dtype=c.dtype) for n, c in value.columns.items()}, value)
    if isinstance(value, Column):
        return torch.empty(value.shape, dtype=value.dtype)
    if isinstance(value, Mapping):
        return {k: _fake(v, sizes) for k, v in value.items()}
    return value


def _known(returned: Any) -> Any:
    """What is known of a fake result, free of the fake mode."""
    if isinstance(returned, Tensor):
        return Column(tuple(returned.shape), returned.dtype)
    if isinstance(returned, nn.Module):
        spec: Any = getattr(returned, "kdrun_spec", None)
        return Model(dict(spec), None) if spec is not None else UNKNOWN
    if isinstance(returned, Dataset):
        return returned.info
    if isinstance(returned, Mapping):
        return {k: _known(v) for k, v in returned.items()}
    if isinstance(returned, list):
        return [_known(v) for v in returned]
    return UNKNOWN


def _unknown_parts(part: Part, node: Node, values: Mapping[str, Any]) -> list[Any]:
    """What a partition of data sets gives when only their columns are known."""
    count: Any = part.with_defaults(node.params)[str(part.options["items"])]
    infos = {n: replace(v, size=None) for n, v in values.items() if isinstance(v, DataInfo)}
    one = infos["data"] if list(infos) == ["data"] else infos
    return [one] * (len(count) if isinstance(count, list) else int(count))


def _describe(value: Any) -> Any:
    return value if isinstance(value, Column) else {k: _describe(v) for k, v in value.items()}


def _flatten(values: Any) -> list[Any]:
    return [inner for v in values for inner in (v if isinstance(v, list) else [v])]


def _trained_models(found: Trace, updates: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "log": UNKNOWN,
        "cost": UNKNOWN,
        **{role: Model(spec, None) for role, spec in found.specs.items()},
    }
    for update in updates:
        for role in update.average:
            fields[f"average.{role}"] = Model(found.specs[role], None)
            fields.setdefault("average", fields[f"average.{role}"])
    return fields


def _computed(found: Trace, rows: int) -> dict[str, Any]:
    """Values of step nodes over all rows; a value without a batch axis keeps its shape."""
    fields = {
        name: UNKNOWN if c is None or not c.shape else replace(c, shape=(rows, *c.shape[1:]))
        for name, c in found.read.items()
    }
    return {"": next(iter(fields.values())), **fields}


def _small_last_batch(params: Mapping[str, Any], found: Trace, rows: int | None, batch_size: int) -> list[str]:
    left = few_left_over(rows or 0, batch_size)
    if not left or not found.batch_statistics or params.get("drop_last"):
        return []
    return [f"batch statistics of the {left} rows in an epoch's last batch are noise: set drop_last: true"]


def _steps(params: Mapping[str, Any], size: int | None, batch_size: int) -> int | None:
    if params.get("steps") is not None:
        return int(params["steps"])
    if size is None:
        return None
    per_epoch = size // batch_size if params.get("drop_last") else -(-size // batch_size)
    return int(params.get("epochs") or 1) * per_epoch
