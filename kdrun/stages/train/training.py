"""Everything one ``train`` stage works with, and its state for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.errors import Diverged
from kdrun.grammar.steps import Step, Update
from kdrun.grammar.validation import parse_validate
from kdrun.runtime.artifacts import Artifact, Model, OptimizerSpec, Table, Tensors
from kdrun.runtime.context import Context
from kdrun.stages.train.length import Length
from kdrun.stages.train.refresh import Refresh
from kdrun.stages.train.validated import main_role, metrics_of
from kdrun.stages.train.validation import Validation
from kdrun.step.compiler import Compiler
from kdrun.step.handed import Handed, compiler_for
from kdrun.step.program import StepProgram
from kdrun.step.remembered import Lasting
from kdrun.step.trace import initial_state
from kdrun.step.trainable import Trainable, make_trainable

__all__ = ["BatchSizes", "Training", "prepare"]

TRACED = 8
"""Rows of the batch that tells shapes, at most."""


@dataclass(frozen=True)
class BatchSizes:
    """Rows of a batch, ``special`` by loader, and in how many ``parts`` a batch is taken."""

    usual: int
    special: Mapping[str, int]
    parts: int

    def of(self, loader: str) -> int:
        return self.special.get(loader, self.usual)


@dataclass
class Training:
    """What a stage trains, built and on the device. ``rows``: those chosen for the epoch at hand; ``times``: how often each was."""

    step: Step
    specs: dict[str, dict[str, Any]]
    loaders: dict[str, Dataset]
    sizes: dict[str, int]
    program: StepProgram
    trainables: dict[str, Trainable]
    context: Context
    buffers: dict[str, Tensor]
    refresh: Refresh | None
    flops_per_row: float
    validation: Validation | None = None
    main: str = ""
    rows: Tensor | None = None
    times: Tensor | None = None
    asked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asked = {role: int(count) for role, count in self._counters().items()}

    @property
    def modules(self) -> dict[str, nn.Module]:
        return self.program.compiler.bound.modules

    @property
    def generator(self) -> torch.Generator:
        return self.program.compiler.generator

    def rates(self) -> dict[str, float]:
        """The learning rate of the last step, by update where there are several; of the first group of parameters."""
        found = {name: float(t.optimizer.param_groups[0]["lr"]) for name, t in self.trainables.items()}
        return {"lr" if len(found) == 1 else f"lr.{name}": rate for name, rate in found.items()}

    def weights(self) -> dict[str, Any]:
        """What an epoch may be remembered by: the trained models, and their averages."""
        return {
            "modules": {role: self.modules[role].state_dict() for role in self.step.trained()},
            "averages": {role: average.parameters for role, average in self.program.averages.items()},
        }

    def _put(self, weights: Mapping[str, Any]) -> None:
        for role, state in weights["modules"].items():
            self.modules[role].load_state_dict(state)
        for role, parameters in weights["averages"].items():
            for own, saved in zip(self.program.averages[role].parameters, parameters, strict=True):
                own.copy_(saved)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to end with the same bytes."""
        state: dict[str, Any] = {
            **self.weights(),
            "optimizers": {name: t.optimizer.state_dict() for name, t in self.trainables.items()},
            "buffers": self.buffers,
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
        }
        counters = self._counters()
        if counters:
            state["queries"] = counters
        if self.program.turns is not None:
            state["turns"] = self.program.turns.state()
        if self.rows is not None and self.times is not None:
            state["rows"], state["times"] = self.rows, self.times
        if self.validation is not None:
            state["validation"] = self.validation.state()
        if self.context.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.context.device)
        if self.program.scaler is not None:
            state["scaler"] = self.program.scaler.state_dict()
        return state

    def _counters(self) -> dict[str, Tensor]:
        """How often models were asked that keep count of it."""
        buffers = {role: dict(module.named_buffers()).get("queries") for role, module in self.modules.items()}
        return {role: buffer for role, buffer in buffers.items() if buffer is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._put(state)
        for name, content in state["optimizers"].items():
            self.trainables[name].restore(content)
        for name, saved in state["buffers"].items():
            self.buffers[name].copy_(saved)
        for role, count in self._counters().items():
            count.copy_(state["queries"][role])
        if self.program.turns is not None:
            self.program.turns.restore(state["turns"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        self.rows, self.times = state.get("rows"), state.get("times")
        if self.validation is not None:
            self.validation.restore(state["validation"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.context.device)
        if "scaler" in state and self.program.scaler is not None:
            self.program.scaler.load_state_dict(state["scaler"])

    def result(self, log: list[dict[str, Any]], length: Length) -> dict[str, Artifact]:
        """The fields of the stage: models and averages, the log, what it cost, which rows were chosen, and the best validation.

        Raises ``Diverged`` where the last step left a weight that is no number.
        """
        self._check_weights()
        fields: dict[str, Artifact] = {"log": Table(log), "cost": Table([self._cost(log, length)])}
        if self.times is not None:
            fields["chosen"] = Tensors({"": self.times})
        if self.validation is not None and self.validation.best:
            fields |= self._best(self.validation)
        for role in dict.fromkeys(self.step.trained()):
            fields[role] = self.context.model(self.modules[role], self.specs[role])
        for role, average in self.program.averages.items():
            state = {k: v.detach().cpu().clone() for k, v in average.state().items()}
            fields[f"average.{role}"] = Model(self.specs[role], state)
            fields.setdefault("average", fields[f"average.{role}"])
        return fields

    def _best(self, validation: Validation) -> dict[str, Artifact]:
        """The best validation; if its weights are kept, the models are set to them, and the last ones are given beside them."""
        fields: dict[str, Artifact] = {"best": Table([validation.row()])}
        if validation.best["weights"]:
            for role in dict.fromkeys(self.step.trained()):
                fields[f"last.{role}"] = self.context.model(self.modules[role], self.specs[role])
            fields["last"] = fields[f"last.{self.main}"]
            self._put(validation.best["weights"])
        return fields

    def _check_weights(self) -> None:
        trained = {(update, n): p for update, t in self.trainables.items() for n, p in t.parameters.items()}
        if not trained:
            return
        sound = torch.stack([torch.isfinite(p).all() for p in trained.values()]).tolist()
        if not all(sound):
            update, name = list(trained)[sound.index(False)]
            terms = ", ".join(next(u for u in self.step.updates if u.name == update).minimize)
            raise Diverged(
                f"the last step left weights that are NaN or infinite: {name} (update '{update}', of: {terms})"
            )

    def _cost(self, log: list[dict[str, Any]], length: Length) -> dict[str, Any]:
        """FLOPs a row, rows of the data, rows seen in all, and how often black boxes were asked meanwhile."""
        rows, size = len(self.loaders["data"]), self.sizes["data"]
        whole = length.steps % length.per_epoch == 0
        seen = rows * (length.steps // length.per_epoch) if whole else length.steps * size
        if self.refresh is not None:
            seen = sum(row["rows"] for row in log)
        cost = {"flops_per_row": self.flops_per_row, "rows": rows, "rows_seen": seen}
        counters = self._counters()
        if counters:
            cost["queries"] = sum(int(count - self.asked[role]) for role, count in counters.items())
        return cost


def prepare(
    step: Step,
    models: dict[str, Any],
    inputs: Mapping[str, Any],
    batches: BatchSizes,
    refresh: Mapping[str, Any] | None,
    validate: Mapping[str, Any] | None,
    context: Context,
) -> Training:
    """Find sizes, build models and optimizers, compile the step. Raises ``InputError`` for what does not fit."""
    handed = Handed.sort(inputs, context)
    rows = min(batches.usual, TRACED)
    found = handed.trace(step, models, rows)
    bound = handed.index_bound(step)
    state = {n: initial_state(node, bound, context.generator("state", n)) for n, node in step.state.items()}
    state = {n: value.to(context.device) for n, value in state.items()}
    sizes = {name: batches.of(name) for name in handed.loaders}
    lasting = _lasting(handed.loaders, {n: -(-size // batches.parts) for n, size in sizes.items()}, context)
    shelf = context.shelf()
    compiler = compiler_for(step, handed, found, context, state, lasting, context.hardware.shards, shelf)
    torch.manual_seed(context.seed_for("global"))
    trainables = _trainables(step, compiler, inputs)
    chosen = (
        Refresh(refresh, compiler, handed.loaders, key=f"{context.config_key}.refresh") if refresh is not None else None
    )
    main = main_role(inputs, step)
    validation = _validation(validate, main, compiler, handed.loaders, sizes, context)
    program = StepProgram(
        step,
        compiler,
        trainables,
        autocast=context.hardware.autocast(),
        scaler=context.hardware.scaler(),
        seed=context.seed_for("noise"),
        parts=batches.parts,
    )
    flops = found.flops / rows
    return Training(
        step, found.specs, handed.loaders, sizes, program, trainables, context, state, chosen, flops, validation, main
    )


def _validation(
    content: Mapping[str, Any] | None,
    main: str,
    compiler: Compiler,
    loaders: Mapping[str, Dataset],
    sizes: Mapping[str, int],
    context: Context,
) -> Validation | None:
    if content is None:
        return None
    key = f"{context.config_key}.validate"
    said = parse_validate(content, key=key)
    metrics = metrics_of(said, compiler.step, main, key=key)
    return Validation(said, metrics, compiler, loaders[said.rows], sizes[said.rows], key=key)


def _lasting(loaders: Mapping[str, Dataset], sizes: Mapping[str, int], context: Context) -> dict[str, Lasting]:
    """The loaders whose rows no random transform changes, so that frozen models' answers may be kept by row."""
    limit = float(context.hardware.settings.get("remember_gib", 0.0)) * 2**30
    return {
        name: Lasting(len(data), data.index_bound(), sizes[name], limit)
        for name, data in loaders.items()
        if limit > 0 and not data.random_transforms() and data.recurring()
    }


def _trainables(step: Step, compiler: Compiler, inputs: Mapping[str, Any]) -> dict[str, Trainable]:
    optimizers = {n: v.content for n, v in inputs.items() if isinstance(v, OptimizerSpec)}

    def content(update: Update) -> Mapping[str, Any]:
        return optimizers[update.optimizer] if isinstance(update.optimizer, str) else update.optimizer

    bound = compiler.bound
    return {u.name: make_trainable(u, bound.modules, content(u), bound.tensors) for u in step.updates if u.every}
