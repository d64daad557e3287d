"""``kdrun export RUN`` or ``kdrun export RECIPE [arm=...]``: a trained model as safetensors, torch.export or ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser, experiment, parse, plugins_alone, write_output
from kdrun.commands.output import say
from kdrun.engine.records import read_record
from kdrun.errors import InputError
from kdrun.models.model_card import model_card
from kdrun.registry import catalog

__all__ = ["main"]

FORMATS = ("safetensors", "torch", "onnx")


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun export", description="Export a trained model from the store.")
    parser.add_argument(
        "recipe",
        metavar="run",
        help="a run's folder (kdrun runs lists them), a reproduction's with arm= and seed=, or a recipe that was run",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help="with a recipe: arm=, scale= and what else was said when it ran; with a folder: plugins=[...]",
    )
    parser.add_argument("--stage", default="fit_student", help="a stage that gives a model (default: fit_student)")
    parser.add_argument("--role", help="which of its models (default: its main one)")
    parser.add_argument("--format", choices=FORMATS, default="safetensors")
    parser.add_argument("--output", help="the file to write (default: RUN/STAGE.EXTENSION)")
    options = parse(parser, arguments)
    folder, record = _folder(options)
    made = _recorded(folder, options) if folder is not None else _of_recipe(options)
    from kdrun.models.export import EXTENSIONS, export

    model, read = made.model(options.stage, options.role), made.reads(options.stage)
    if options.format != "safetensors":  # programs are made by the model's own code
        made.check_code(model)
    beside = folder if folder is not None else Path()
    output = Path(options.output or beside / f"{options.stage}.{EXTENSIONS[options.format]}").expanduser()
    written = export(model.spec, model.state, read, options.format, output)
    if options.format == "safetensors":
        written.append(_card(output, model_card(output.name, model.spec, read, record)))
    shape = read.get("shape")
    reads = f", input [batch, {', '.join(map(str, shape))}]" if shape is not None else ""
    checked = "" if options.format == "safetensors" else ", answers as the model does"
    say(f"{', '.join(map(str, written))}  ({model.spec['model']}{reads}{checked})")
    return 0


def _folder(options: Any) -> tuple[Path | None, dict[str, Any] | None]:
    """The folder of the run that is named, and its record; none for a recipe. Of a reproduction's folder, arm= and seed= choose a run."""
    path = Path(options.recipe).expanduser()
    if not path.is_dir():
        return None, None
    if not (path / "result.json").exists() and any(path.glob("*/result.json")):
        from kdrun.config.experiment import Selection
        from kdrun.engine.run_folders import run_in

        selection = Selection.of(options.overrides)
        said = {override.path: override.value for override in selection.overrides}
        options.overrides = [o for o in options.overrides if o.partition("=")[0] not in ("arm", "seed")]
        path = run_in(path, arm=selection.arm, seed=said.get("seed")).folder
    return path, read_record(path)


def _card(output: Path, text: str) -> Path:
    path = output.with_name(f"{output.stem}.card.md")
    write_output(str(path), text)
    return path


def _recorded(folder: Path, options: Any) -> Any:
    """The models of a run's folder. Its code is imported for programs alone."""
    from kdrun.api.trained import Trained

    plugins = plugins_alone(options.overrides, "a run's folder says what was run")
    found = Trained.of_run(folder)
    if options.format != "safetensors":
        catalog(plugins)
    return found


def _of_recipe(options: Any) -> Any:
    """The models that a recipe has in the store with these overrides."""
    from kdrun.api.trained import Trained
    from kdrun.engine.models import models_of
    from kdrun.engine.session import Session

    session = Session(experiment(options))
    found = Trained(options.recipe, str(session.store.root), models_of(session), named=session.executor.named)
    if options.stage not in found.models and options.stage in session.graph.nodes:
        raise InputError(found.gone(options.stage))
    return found
