"""Write the stubs (``__init__.pyi``) that say what the packages of parts show: every registered part, from its module.

python scripts/write_stubs.py
"""

from __future__ import annotations

from pathlib import Path

from kdrun.registry import catalog_with
from kdrun.registry.kinds import BY_KINDS

ROOT = Path(__file__).parent.parent
FACES = {
    "ops": ("op",),
    "metrics": ("metric",),
    "optim": ("optimizer", "schedule", "gradient"),
    "models": ("model",),
    "data": ("data", "transform", "sampler"),
    "parts": BY_KINDS,
}
BESIDE = {
    "optim": [("kdrun.optim.schedules", "Progress")],
    "data": [("kdrun.data.dataset", n) for n in ("Column", "DataInfo", "Dataset", "FileDataset", "MemoryDataset")],
}
"""What a user of the parts needs and that is none: a schedule is called with a ``Progress``, a source gives a ``Dataset``."""


def main() -> None:
    for package in FACES:
        path(package).write_text(stub(package), encoding="utf-8")


def path(package: str) -> Path:
    return ROOT / "kdrun" / package / "__init__.pyi"


def stub(package: str) -> str:
    """The text of a package's stub: one import a part, from its module, under the name that it is registered by.

    A type checker takes an import in a stub for the package's own if it keeps its name, or if ``__all__`` has it.
    """
    with catalog_with(()) as shipped:
        shown = [(part.module, part.qualname, part.name) for part in shipped if part.kind in FACES[package]]
    shown += [(module, name, name) for module, name in BESIDE.get(package, [])]
    lines = [f"from {module} import {own} as {name}" for module, own, name in sorted(shown)]
    head = "# What the package shows, written by scripts/write_stubs.py."
    if all(own == name for _, own, name in shown):
        return "\n".join([head, *lines, ""])
    names = sorted((name for _, _, name in shown), key=lambda name: (not name[0].isupper(), name))
    return "\n".join([head, *lines, "", "__all__ = [", *(f'    "{name}",' for name in names), "]", ""])


if __name__ == "__main__":
    main()
