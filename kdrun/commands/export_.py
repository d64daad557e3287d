"""``kdrun export RUN`` or ``kdrun export RECIPE [arm=...]``: a trained model as safetensors, torch.export or ONNX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser, experiment, parse
from kdrun.errors import InputError, nearest
from kdrun.graph.types import fields_of_node

__all__ = ["main"]

FORMATS = ("safetensors", "torch", "onnx")


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun export", description="Export a trained model from the store.")
    parser.add_argument(
        "recipe", metavar="run", help="a run's folder (kdrun runs lists them), or a recipe that was run"
    )
    parser.add_argument("overrides", nargs="*", help="with a recipe: arm=, scale= and what else was said when it ran")
    parser.add_argument("--stage", default="fit_student", help="a stage that gives a model (default: fit_student)")
    parser.add_argument("--role", help="which of its models (default: its main one)")
    parser.add_argument("--format", choices=FORMATS, default="safetensors")
    parser.add_argument("--output", help="the file to write (default: RUN/STAGE.EXTENSION)")
    options = parse(parser, arguments)
    folder = Path(options.recipe)
    session = _session(folder, options)
    stages = [n.name for n in session.graph.stages() if fields_of_node(n).default == "model"]
    if options.stage not in stages:
        raise InputError(
            f"{folder} has no stage that gives a model called '{options.stage}'{nearest(options.stage, stages)}; it has: {', '.join(stages)}"
        )
    model, column = _model(session, options.stage, options.role)
    extension = {"safetensors": "safetensors", "torch": "pt2", "onnx": "onnx"}[options.format]
    output = Path(options.output or (folder if folder.is_dir() else Path()) / f"{options.stage}.{extension}")
    _write(model, column, options.format, output)
    print(f"{output}  ({model.spec['model']}, input [batch, {', '.join(map(str, column.shape))}])")
    return 0


def _session(folder: Path, options: Any) -> Any:
    import yaml

    from kdrun.config.experiment import Experiment
    from kdrun.engine.session import Session

    if not folder.is_dir():
        return Session(experiment(options))
    if options.overrides:
        raise InputError("a run's folder says what was run: overrides go with a recipe")
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        recipe = json.loads((folder / "result.json").read_text())["recipe"]
    except OSError:
        raise InputError(f"{folder} is no folder of a finished run; `kdrun runs` lists them") from None
    return Session(Experiment(recipe, config))


def _model(session: Any, stage: str, role: str | None) -> tuple[Any, Any]:
    """The model artifact and the column that it reads."""
    from kdrun.grammar.nodes import Ref
    from kdrun.models.building import INPUT_COLUMNS
    from kdrun.runtime.artifacts import Model

    key = session.keys[stage]
    if not session.store.contains(key):
        raise InputError(
            f"the store {session.store.root} holds no result of '{stage}' for this run: run it again first"
        )
    model = session.executor.value(Ref(stage, (role,) if role else ()))
    if not isinstance(model, Model):
        raise InputError(f"'{role}' of stage '{stage}' is no model")
    node = session.graph.nodes[stage]
    info = session.executor.value(node.inputs["data"]).info
    return model, next(info.columns[c] for c in INPUT_COLUMNS if c in info.columns)


def _write(model: Any, column: Any, kind: str, output: Path) -> None:
    import torch

    from kdrun.models.building import restored

    output.parent.mkdir(parents=True, exist_ok=True)
    if kind == "safetensors":
        from safetensors.torch import save_file

        meta = {"kdrun": json.dumps(dict(model.spec))}
        save_file({k: v.contiguous().clone() for k, v in model.state.items()}, output, metadata=meta)
        return
    module = restored(model.spec, model.state)
    example = torch.zeros((2, *column.shape), dtype=column.dtype)
    batch = {0: torch.export.Dim("batch", min=1)}
    if kind == "torch":
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=(batch,)), output)
        return
    try:
        torch.onnx.export(module, (example,), str(output), dynamo=True, dynamic_shapes=(batch,), verbose=False)
    except ImportError as error:
        raise InputError(f"ONNX export needs an extra: pip install 'kdrun[onnx]' ({error})") from None
