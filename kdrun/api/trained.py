"""The trained models of a run: where its record says that they lie, and what they read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.config.places import lies_open, target
from kdrun.engine.records import read_json, read_record
from kdrun.errors import CorruptArtifact, InputError, nearest, printable
from kdrun.registry import catalog

if TYPE_CHECKING:
    from kdrun.runtime.artifacts import Model

__all__ = ["Trained"]


@dataclass(frozen=True)
class Trained:
    """The models of one run, by stage as ``models_of`` tells them, and its store; ``plugins`` are those that its record names."""

    name: str
    store: str
    models: Mapping[str, Mapping[str, Any]]
    plugins: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()
    """What the run's configuration names to read, as far as it is known."""

    @classmethod
    def of_run(cls, folder: Path) -> Trained:
        """Read the record of a run. Raises ``InputError`` for a folder without a finished one."""
        record = read_record(folder)
        try:
            models = _sound(read_json(folder / "models.json"))
        except (OSError, ValueError, RecursionError):
            state = "" if record["state"] in ("broken", "finished") else f" ({record['state']})"
            raise InputError(f"{folder} is no folder of a finished run{state}; `kdrun runs` lists them") from None
        return cls(str(folder), _known_store(str(record.get("store"))), models, tuple(record.get("plugins") or ()))

    def model(self, stage: str, role: str | None = None) -> Model:
        """The model of a stage, or of a role in it, from the store. Raises ``InputError`` if it is not there."""
        from kdrun.engine.store import Store, refuse_foreign

        made, store = self._made(stage), Store(self.store)
        names = made["models"]
        field = role if role is not None else made["main"] if made["main"] in names else names[0]
        if field not in names:
            known = nearest(field, names) + f"; it has: {', '.join(filter(None, names)) or 'one, without a role'}"
            raise InputError(f"'{field}' of stage '{stage}' is no model{known}")
        if not store.contains(made["key"]):
            raise InputError(self.gone(stage))
        model: Any = store.read(made["key"], [field])[field]
        try:
            refuse_foreign(model, self.named)
        except CorruptArtifact as error:
            raise InputError(f"the model of stage '{stage}' is refused: {error}") from None
        if model.state is None:
            raise InputError(f"the model of stage '{stage}' was never trained")
        return model

    def reads(self, stage: str) -> dict[str, Any]:
        """What is known of the input of a stage's models; empty if nothing is."""
        return dict(self._made(stage)["input"])

    def check_code(self, model: Model) -> None:
        """Raise ``InputError`` for a model whose code is in a plug-in that the caller does not name."""
        name = str(model.spec["model"])
        if catalog().find("model", name) is None and self.plugins:
            told = ", ".join(printable(path) for path in self.plugins)
            raise InputError(
                f"the model '{name}' comes from a plug-in, which is code: add 'plugins=[{told}]' if you trust it"
            )

    def gone(self, stage: str) -> str:
        """What to say of a stage whose result the store does not hold."""
        return f"the store {self.store} holds no result of '{stage}' for this run: run it again first"

    def _made(self, stage: str) -> Mapping[str, Any]:
        if stage not in self.models:
            known = nearest(stage, self.models) + f"; it has: {', '.join(self.models) or 'none'}"
            raise InputError(f"{self.name} has no stage that gives a model called '{stage}'{known}")
        return self.models[stage]


def _known_store(store: str) -> str:
    """The store that a record names: the user's own, or one in the working folder. Raises ``InputError`` for any other."""
    from kdrun.engine.store import default_root

    found, own = target(store), target(default_root())
    is_own = found is not None and own is not None and found.is_relative_to(own)  # what was read from afar lies in it
    if not is_own and not lies_open(found):
        raise InputError(
            f"this run's results lie in the store {store}, outside of the working folder: set KDRUN_STORE to it if you mean it"
        )
    return store


def _sound(content: Any) -> Mapping[str, Mapping[str, Any]]:
    """What ``models_of`` would have written. Raises ``ValueError`` for anything else: the folder may be a stranger's."""
    kinds = {"key": str, "models": list, "main": str, "input": dict}
    if not isinstance(content, Mapping):
        raise ValueError("a mapping is expected")
    for made in content.values():
        whole = isinstance(made, Mapping) and all(isinstance(made.get(name), kind) for name, kind in kinds.items())
        if not whole or not made["models"] or not all(isinstance(name, str) for name in made["models"]):
            raise ValueError("a stage has a key, models, a main one and an input")
        if not re.fullmatch(r"[0-9a-f]+", made["key"]):
            raise ValueError("a key is a hexadecimal number")
    return content
