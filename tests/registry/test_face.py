"""The public faces of the packages of parts: every part by name, nothing imported before its time, keys that see through."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import kdrun
from kdrun import data, metrics, models, ops, optim, parts
from kdrun.registry import Catalog, catalog_with
from kdrun.registry.kinds import BY_KINDS
from kdrun.registry.reach import reached

ROOT = Path(kdrun.__file__).parent
FACES = {
    ops: ["op"],
    metrics: ["metric"],
    optim: ["optimizer", "schedule", "gradient"],
    models: ["model"],
    data: ["data", "transform", "sampler"],
    parts: list(BY_KINDS),
}
PACKAGES = [package.__name__ for package in FACES]


@pytest.mark.parametrize("package", FACES, ids=PACKAGES)
def test_every_part_is_at_hand_by_its_name(package) -> None:
    with catalog_with(()) as shipped:
        for kind in FACES[package]:
            for name in shipped.names(kind):
                assert name in dir(package), f"{name} is missing: python scripts/write_stubs.py"
                assert getattr(package, name) is shipped.get(kind, name).load()


def test_the_stubs_are_those_that_the_registry_gives() -> None:
    script = runpy.run_path(str(ROOT.parent / "scripts" / "write_stubs.py"))
    for package in script["FACES"]:
        assert script["path"](package).read_text() == script["stub"](package), "run scripts/write_stubs.py"


@pytest.mark.parametrize("package", FACES, ids=PACKAGES)
def test_no_module_hides_a_part_of_its_name(package) -> None:
    modules = {file.stem for file in Path(package.__file__).parent.glob("*.py")}
    assert not modules & set(dir(package))


def test_star_and_submodules_are_imported_as_from_any_package() -> None:
    found: dict[str, object] = {}
    exec("from kdrun.metrics import *\nfrom kdrun.ops import divergences", found)
    assert found["accuracy"] is metrics.accuracy
    assert found["divergences"].kl_divergence is ops.kl_divergence


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'kdrun\.ops' has no attribute 'kl_divergnce'"):
        _ = ops.kl_divergnce


def test_torch_waits_until_a_part_is_named() -> None:
    program = (
        "import sys, kdrun; from kdrun import data, metrics, models, optim, parts; dir(kdrun.ops), dir(models), dir(data), dir(parts); early = 'torch' in sys.modules; "
        "kdrun.ops.kl_divergence; print(early, 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("from kdrun import ops", "ops.kl_divergence"),
        ("from kdrun.ops import kl_divergence", "kl_divergence"),
        ("from kdrun.ops.divergences import kl_divergence", "kl_divergence"),
    ],
)
def test_a_key_holds_the_source_of_an_op_that_is_used_through_the_face(tmp_path, line, call) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(f"{line}\nfrom kdrun.registry import op\n\n\n@op\ndef mine(a, b):\n    return {call}(a, b)\n")
    part = Catalog([str(plugin)]).get("op", "mine")
    seen = reached(part.module, part.file, part.qualname)
    assert {"kdrun.ops.divergences:kl_divergence", "kdrun.ops.divergences:log_probabilities"} <= set(seen)
