"""What a configuration may say, by who says it: asked once of the final configuration of every seed, arm and scale.

Who speaks is told by the place: the user on the command line, in the environment or in a program; the installed package in its own
files; anybody else in a recipe or an option of a group that lies elsewhere, the working folder included.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdrun.config.experiment import Experiment
from kdrun.config.files import read as read_file
from kdrun.config.layers import COMMAND_LINE, Override, apply
from kdrun.config.locate import covers, locate
from kdrun.config.paths import conf_dir, group_options, is_installed
from kdrun.config.places import VARIABLE, target
from kdrun.config.reads import Read, reads
from kdrun.errors import InputError, KdrunError
from kdrun.grammar.overlay import place
from kdrun.registry import catalog_with

__all__ = ["OF_HYDRA", "OF_THE_USER", "checked_defaults", "checked_option", "expand_home", "guard", "refuse_hydra"]

OF_THE_USER = {
    "plugins": "which code is imported",
    "store": "where results are kept",
    "runs": "where records are written",
    "tracker": "where figures are sent",
    "launcher": "where runs are started",
    "sweeper": "which runs are started",
    "hydra": "how Hydra runs",
}
"""What the user alone may say, and what it decides. The rest anybody may say: it computes, and reads what ``places`` lets it read."""

OF_HYDRA = ("launcher", "sweeper")
"""Groups whose options are settings of Hydra's."""

SETTINGS = ("plugins", "store", "runs")
"""Those of them that are settings at the top of a configuration."""

UNREAD = ("arms", "scales", "claims", "paper", "notes")
"""Top-level keys that are layers, or text."""


def guard(layered: Experiment, config: Mapping[str, Any]) -> None:
    """Raise ``InputError``, with the place that says it, for what somebody says in ``config`` who may not.

    ``layered`` has the layers, ``config`` is what they resolve to: what will run.
    """
    try:
        for override in layered.overrides:
            if override.layer != COMMAND_LINE and override.first in OF_THE_USER:
                raise _refused(override.first, key=override.key)
        for path, package in layered.sources:
            _check_file(path, package)
        _check_tracker(layered)
        _check_settings(layered, config)
        _check_reads(layered, config)
    except KdrunError as error:
        raise layered.explain(error) from None


def _refused(name: str, **place: Any) -> InputError:
    if name == "hydra":
        return InputError("Hydra's own settings come from the command line alone", **place)
    return InputError(
        f"only the command line may set '{name}' ({OF_THE_USER[name]}): add {name}=... there if you mean it", **place
    )


def _check_file(path: Path, package: str) -> None:
    """No file but the primary config speaks of what is the user's, or lands there by its header."""
    if (name := (read_file(path).package or "").partition(".")[0]) in (*SETTINGS, "hydra"):
        raise _refused(name, key="# @package", where=str(path))
    if package or path == conf_dir() / "config.yaml":
        return
    for key in map(str, read_file(path).content):
        if (name := key.partition(".")[0]) in OF_THE_USER:
            raise _refused(name, key=key, where=locate(key, ((path, package),)))


def _check_tracker(layered: Experiment) -> None:
    """The option is the one that the user chose, or the primary config's; a name of the installed package's is its own."""
    chosen = [o.value for o in layered.overrides if o.path == "tracker"]
    name = chosen[-1] if chosen else _primary()["tracker"]
    used = [path for path, package in layered.sources if package == "tracker"]
    wanted = group_options("tracker").get(str(name))
    if used and wanted not in used:
        raise _refused("tracker", key="defaults")
    if wanted is not None and not is_installed(wanted) and (conf_dir() / "tracker" / f"{name}.yaml").is_file():
        raise InputError(
            f"kdrun has an option tracker={name}, whose place no other file takes: give this one a name of its own",
            where=str(wanted),
        )


def _primary() -> dict[str, Any]:
    """What the primary config chooses, by group."""
    entries = read_file(conf_dir() / "config.yaml").content["defaults"]
    return {name: option for entry in entries if isinstance(entry, dict) for name, option in entry.items()}


def _check_settings(layered: Experiment, config: Mapping[str, Any]) -> None:
    """The user's settings are what the primary config and the user say, whatever way another value came."""
    said = {name: read_file(conf_dir() / "config.yaml").content[name] for name in SETTINGS}
    for override in layered.overrides:
        if override.layer == COMMAND_LINE and override.first in SETTINGS:
            apply(said, override)
    expand_home(said)
    for name in SETTINGS:
        if "${" in str(said.get(name)):
            raise InputError(f"{name} is said plainly: ${{...}} would take it from a file", key=name)
        if config.get(name) != said.get(name):
            raise _refused(name, key=name)
    if "hydra" in config:
        raise _refused("hydra", key="hydra")


def expand_home(config: dict[str, Any]) -> None:
    """``~`` in the places that the user alone may name."""
    for name in SETTINGS:
        value = config.get(name)
        if isinstance(value, str):
            config[name] = os.path.expanduser(value)
        elif isinstance(value, list):
            config[name] = [os.path.expanduser(v) if isinstance(v, str) else v for v in value]


def _check_reads(layered: Experiment, config: Mapping[str, Any]) -> None:
    """What is read lies in the working folder, or the user or the installed package names it."""
    if all(is_installed(path) for path, _ in layered.sources):
        return
    user = [o for o in layered.overrides if o.layer == COMMAND_LINE]
    said = {text for o in user for text in _texts(o.value)} | _installed_texts(layered)
    with catalog_with(config.get("plugins") or ()):
        found = list(reads({name: content for name, content in config.items() if name not in UNREAD}))
    named = [read for read in found if any(covers(o, read.key, read.key.split(".")) and _says(o, read) for o in user)]
    folders = [folder for read in named if (folder := target(read.text)) is not None]
    for read in found:
        if read not in named and not read.lies_open(folders) and (read.text not in said or _holds_all(read.text)):
            raise _out_of_bounds(layered, read)


def _says(override: Override, read: Read) -> bool:
    return read.text in _texts(override.value)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a value that are said plainly."""
    if isinstance(value, str) and "${" not in value:
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _installed_texts(layered: Experiment) -> set[str]:
    return {text for path, _ in layered.sources if is_installed(path) for text in _texts(read_file(path).content)}


def _holds_all(text: str) -> bool:
    """Whether the working folder lies in a folder: a word said for something else is not meant to open that."""
    found = target(text)
    return found is None or Path.cwd().resolve().is_relative_to(found)


def _out_of_bounds(layered: Experiment, read: Read) -> InputError:
    """Names the layer that says what is read, behind any ``${...}``."""
    key, raw = read.key, place(layered.config, read.key)
    for _ in range(16):
        inner = re.search(r"\$\{([\w.]+)\}", str(raw[0].get(raw[1], "")))
        if inner is None:
            break
        key, raw = inner[1], place(layered.config, inner[1])
    found = target(read.text)
    leads = f", which leads to {found}," if str(found) != read.text else ""
    word = f"{read.key.removeprefix('graph.')}={read.text}"
    return InputError(
        f"'{read.text}'{leads} lies outside of the working folder, and a file says it: add {word} on the command line, "
        f"or set {VARIABLE} to the folder, if you mean it",
        key=read.key,
        where=locate(key, layered.sources, layered.overrides),
    )


def _is_of_hydra(path: Path) -> bool:
    """Whether a file may speak of Hydra: the primary config, the launchers and the sweepers of the installed package."""
    own = [conf_dir() / name for name in OF_HYDRA]
    return is_installed(path) and (path == conf_dir() / "config.yaml" or path.parent in own)


def refuse_hydra(path: Path) -> None:
    """Raise ``InputError`` for a node ``hydra`` in a file that may have none."""
    if not _is_of_hydra(path):
        raise _refused("hydra", key="hydra", where=locate("hydra", ((path, ""),)))


def checked_defaults(defaults: Any, path: Path) -> list[Any]:
    """A file's defaults list, which names options plainly and none of what is the user's. Raises ``InputError``."""
    where = locate("defaults", ((path, ""),))
    if not isinstance(defaults, list):
        raise InputError("defaults is a list of group options", key="defaults", where=where)
    for entry in [] if _is_of_hydra(path) else defaults:
        if "${" in str(entry):
            raise InputError(f"a defaults list names options plainly, got {entry}", key="defaults", where=where)
        for name in map(str, entry) if isinstance(entry, dict) else [str(entry)]:
            bare = (name.split() or [""])[-1].lstrip("/")  # behind `override` and `optional`, in any order
            if "@" in bare or bare.partition("/")[0] in OF_THE_USER:
                raise InputError(
                    f"'{name}' is no group of an experiment: launchers, trackers and packages come from the command line",
                    key="defaults",
                    where=where,
                )
    return defaults


def checked_option(name: str) -> str:
    """The path of an option inside the folder of groups. Raises ``InputError`` for one that leads out of it."""
    pieces = name.split("/")
    if any(piece in ("", ".", "..") or piece.startswith("~") or "\\" in piece for piece in pieces):
        raise InputError(f"'{name}' is no option: it leads out of the groups' folder")
    return name
