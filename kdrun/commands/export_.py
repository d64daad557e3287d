"""``kdrun export RUN`` or ``kdrun export RECIPE [arm=...]``: a trained model as safetensors, torch.export or ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser, experiment, parse
from kdrun.errors import InputError, nearest, printable
from kdrun.registry import catalog

__all__ = ["main"]

FORMATS = ("safetensors", "torch", "onnx")


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun export", description="Export a trained model from the store.")
    parser.add_argument(
        "recipe", metavar="run", help="a run's folder (kdrun runs lists them), or a recipe that was run"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help="with a recipe: arm=, scale= and what else was said when it ran; with a run's folder: plugins=[...]",
    )
    parser.add_argument("--stage", default="fit_student", help="a stage that gives a model (default: fit_student)")
    parser.add_argument("--role", help="which of its models (default: its main one)")
    parser.add_argument("--format", choices=FORMATS, default="safetensors")
    parser.add_argument("--output", help="the file to write (default: RUN/STAGE.EXTENSION)")
    options = parse(parser, arguments)
    folder = Path(options.recipe).expanduser()
    root, models, plugins = _recorded(folder, options) if folder.is_dir() else _of_recipe(options)
    if options.stage not in models:
        known = nearest(options.stage, models) + f"; it has: {', '.join(models) or 'none'}"
        raise InputError(f"{folder} has no stage that gives a model called '{options.stage}'{known}")
    from kdrun.models.export import EXTENSIONS, export

    made = models[options.stage]
    model = _model(root, made, options.stage, options.role)
    if options.format != "safetensors":
        _check_known(str(model.spec["model"]), plugins)
    beside = folder if folder.is_dir() else Path()
    output = Path(options.output or beside / f"{options.stage}.{EXTENSIONS[options.format]}").expanduser()
    written = export(model.spec, model.state, made["input"], options.format, output)
    shape = made["input"].get("shape")
    reads = f", input [batch, {', '.join(map(str, shape))}]" if shape is not None else ""
    print(f"{', '.join(map(str, written))}  ({model.spec['model']}{reads})")
    return 0


Models = dict[str, dict[str, Any]]


def _recorded(folder: Path, options: Any) -> tuple[str, Models, list[str]]:
    """The store that a run wrote into, the models that it made and the plug-ins that it had, as its record names them."""
    from kdrun.engine.records import read_record

    plugins = _plugins(options.overrides)
    record = read_record(folder)
    try:
        models = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = "" if record["state"] in ("broken", "finished") else f" ({record['state']})"
        raise InputError(f"{folder} is no folder of a finished run{state}; `kdrun runs` lists them") from None
    if options.format != "safetensors":  # programs are made by the model's own code
        catalog(plugins)
    return str(record["store"]), models, list(record.get("plugins") or ())


def _plugins(overrides: Sequence[str]) -> tuple[str, ...]:
    """The plug-ins that the command line names. Those of a run's record are code that came with a folder, and are never read."""
    from kdrun.config.layers import parse_text

    found = parse_text(overrides)
    if any(override.path != "plugins" for override in found):
        raise InputError("a run's folder says what was run: of overrides it takes plugins=[...] alone")
    values = [value for o in found for value in (o.value if isinstance(o.value, list) else [o.value])]
    return tuple(str(value) for value in values)


def _check_known(name: str, recorded: Sequence[str]) -> None:
    """Raise ``InputError`` for a model whose code is in a plug-in that the command line does not name."""
    if catalog().find("model", name) is None and recorded:
        told = ", ".join(printable(path) for path in recorded)
        raise InputError(
            f"the model '{name}' comes from a plug-in, which is code: add 'plugins=[{told}]' if you trust it"
        )


def _of_recipe(options: Any) -> tuple[str, Models, list[str]]:
    """The store, and the models that a recipe has in it with these overrides."""
    from kdrun.engine.models import models_of
    from kdrun.engine.session import Session

    session = Session(experiment(options))
    models = models_of(session)
    if options.stage not in models and options.stage in session.graph.nodes:
        raise InputError(_gone(session.store.root, options.stage))
    return str(session.store.root), models, []


def _gone(root: Any, stage: str) -> str:
    return f"the store {root} holds no result of '{stage}' for this run: run it again first"


def _model(root: str, made: Mapping[str, Any], stage: str, role: str | None) -> Any:
    """The model of a stage, or of a role in it, from the store. Raises ``InputError`` if it is not there."""
    from kdrun.engine.store import Store

    store = Store(root)
    names = made["models"]
    field = role if role is not None else made["main"] if made["main"] in names else names[0]
    if field not in names:
        known = nearest(field, names) + f"; it has: {', '.join(filter(None, names)) or 'one, without a role'}"
        raise InputError(f"'{field}' of stage '{stage}' is no model{known}")
    if not store.contains(made["key"]):
        raise InputError(_gone(root, stage))
    model: Any = store.read(made["key"], [field])[field]
    if model.state is None:
        raise InputError(f"the model of stage '{stage}' was never trained")
    return model
