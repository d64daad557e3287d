"""Write the stubs (``__init__.pyi``) that say what the packages of parts show: every registered part, from its module.

python scripts/write_stubs.py
"""

from __future__ import annotations

from pathlib import Path

from kdrun.registry import catalog

ROOT = Path(__file__).parent.parent
FACES = {"ops": ("op",), "metrics": ("metric",), "optim": ("optimizer", "schedule", "gradient")}
BESIDE = {"optim": [("kdrun.optim.schedules", "Progress")]}
"""What a user of the parts needs and that is none: a schedule is called with a ``Progress``."""


def main() -> None:
    for package in FACES:
        path(package).write_text(stub(package), encoding="utf-8")


def path(package: str) -> Path:
    return ROOT / "kdrun" / package / "__init__.pyi"


def stub(package: str) -> str:
    """The text of a package's stub: one import a part, by module and name."""
    shown = [(part.module, part.qualname) for part in catalog() if part.kind in FACES[package]]
    lines = [f"from {module} import {name} as {name}" for module, name in sorted([*shown, *BESIDE.get(package, [])])]
    return "# What the package shows, written by scripts/write_stubs.py.\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
