"""Parts are found in the source text, documented, and digested by what they reach."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import pytest

from kdrun.errors import InputError
from kdrun.registry import Catalog, catalog
from kdrun.registry.signature import _adapter

PLUGIN = """
from kdrun.registry import op

FACTOR = 2.0

def helper(x):
    '''Explains itself.'''
    return FACTOR * x

def unrelated(x):
    return x - 1

@op
def doubled(x, *, times: int = 1):
    # a remark
    for _ in range(times):
        x = helper(x)
    return x
"""


def digest(folder: Path, text: str) -> str:
    path = folder / "parts.py"
    path.write_text(text)
    return Catalog([str(path)]).digest("op", "doubled")


def test_finding_parts_imports_nothing_heavy() -> None:
    code = "import sys; from kdrun.registry import catalog; assert len(list(catalog())) > 30; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("part", list(catalog()), ids=lambda p: f"{p.kind}-{p.name}")
def test_every_part_is_documented_and_typed(part) -> None:
    assert part.summary.endswith((".", ":", "?")), f"{part.file}:{part.line} lacks a docstring"
    for parameter in part.parameters.values():
        assert parameter.annotation, f"{part.name}.{parameter.name} has no type"
        _adapter(parameter.annotation)


@pytest.mark.parametrize(
    ("old", "new"),
    [("# a remark", "# another remark"), ("Explains itself", "Says more"), ("return x - 1", "return x - 3")],
)
def test_comments_docstrings_and_unrelated_code_leave_the_digest(tmp_path, old, new) -> None:
    assert digest(tmp_path, PLUGIN) == digest(tmp_path, PLUGIN.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("FACTOR = 2.0", "FACTOR = 3.0"), ("return FACTOR * x", "return FACTOR + x"), ("range(times)", "range(1)")],
)
def test_what_the_part_reaches_changes_the_digest(tmp_path, old, new) -> None:
    assert digest(tmp_path, PLUGIN) != digest(tmp_path, PLUGIN.replace(old, new))


SCATTERED = """
from kdrun.registry import op

MEAN, STD = 1.0, 2.0
TABLE = {}
TABLE["scale"] = 3.0
TABLE.update(shift=4.0)
try:
    ROOT = 5.0
except ImportError:
    ROOT = 6.0
if ROOT > 5.5:
    def root():
        return ROOT
else:
    def root():
        return 7.0


@op
def doubled(x):
    \"\"\"Says something.\"\"\"
    return (x - MEAN) / STD * TABLE["scale"] + TABLE["shift"] + root()
"""


@pytest.mark.parametrize("value", ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0"])
def test_values_that_are_given_together_piecewise_or_under_a_condition_are_reached(tmp_path, value) -> None:
    assert digest(tmp_path, SCATTERED) != digest(tmp_path, SCATTERED.replace(value, "9.0"))


def test_digest_follows_imports_between_modules() -> None:
    from kdrun.registry.reach import reached

    part = catalog().get("stage", "train")
    seen = reached(part.module, part.file, part.qualname)
    assert "kdrun.step.program:StepProgram" in seen
    assert "kdrun.randomness:seed_of" in seen
    assert not any(name.startswith("kdrun.report") for name in seen)


def test_a_name_registered_twice_is_refused(tmp_path) -> None:
    path = tmp_path / "again.py"
    path.write_text(textwrap.dedent("from kdrun.registry import op\n@op\ndef kl_divergence(a, b): ...\n"))
    with pytest.raises(InputError, match="registered twice"):
        Catalog([str(path)])


def test_a_missing_package_names_the_extra(tmp_path) -> None:
    path = tmp_path / "needs.py"
    path.write_text("import no_such_package\nfrom kdrun.registry import op\n@op(extra='kg')\ndef needs(a): 'Needs.'\n")
    part = Catalog([str(path)]).get("op", "needs")
    with pytest.raises(InputError, match=r"pip install 'kdrun\[kg\]'"):
        part.load()


def test_a_catalog_that_is_out_of_force_is_let_go() -> None:
    found = Catalog()
    found.digest("op", "kl_divergence")
    kept = weakref.ref(found)
    del found
    gc.collect()
    assert kept() is None
