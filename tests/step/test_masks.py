"""Calls of models in a step are handed the mask that stands beside the tokens that they read."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import Column
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import parse_step
from kdrun.models.building import build
from kdrun.step.compiler import Compiler
from kdrun.step.layout import Bindings
from kdrun.step.supply import Supply
from kdrun.step.trace import trace

SPEC = {"model": "causal_transformer", "vocabulary": 71, "dim": 16, "depth": 1, "heads": 2}
IDS, REAL = Column((6,), torch.int64), Column((6,), torch.bool)
COLUMNS = {"tokens": IDS, "mask": REAL, "teacher_tokens": IDS, "teacher_mask": REAL, "plain_tokens": IDS}
TOKENS = torch.randint(1, 71, (4, 6), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(6) >= torch.arange(4)[:, None]
BATCH = {
    "tokens": TOKENS.where(MASK, 0),
    "mask": MASK,
    "teacher_tokens": TOKENS.flip(1),
    "teacher_mask": ~MASK | (torch.arange(6) == 5),
    "plain_tokens": TOKENS,
}


def said(call: dict) -> torch.Tensor:
    """Logits of a call as a step's function makes it, planned first."""
    step = parse_step({"nodes": {"s": {"call": "student", **call}}}, key="step")
    trace(step, specs={"student": SPEC}, tensors={}, columns={"data": COLUMNS}, batch_size=4, sizes={})
    bound = Bindings({"student": build(SPEC, seed=(0,)).eval()}, columns={"data": COLUMNS})
    compiler = Compiler(Supply(step, bound, torch.Generator()))
    instructions, (register,) = compiler.function([Ref("s", ("logits",))])
    r = compiler.layout.filled(BATCH)
    with torch.no_grad():
        for function, inputs, out in instructions:
            r[out] = function(*[r[i] for i in inputs])
    return r[register]


def expected(tokens: str, mask: torch.Tensor | None) -> torch.Tensor:
    with torch.no_grad():
        return build(SPEC, seed=(0,)).eval()(BATCH[tokens], mask=mask)


@pytest.mark.parametrize(
    "more", [{}, {"grad": False}, {"taps": {"states": "tokens"}}, {"mode": "train"}, {"detach": True}]
)
@pytest.mark.parametrize("named", [False, True])
def test_a_call_is_handed_its_mask(more, named) -> None:
    given = {"tokens": "batch.tokens"} if named else ["batch.tokens"]
    assert torch.equal(said({"from": given, **more}), expected("tokens", MASK))


def test_each_column_of_tokens_has_its_own_mask_or_none() -> None:
    assert torch.equal(said({"from": ["batch.teacher_tokens"]}), expected("teacher_tokens", BATCH["teacher_mask"]))
    assert torch.equal(said({"from": ["batch.plain_tokens"]}), expected("plain_tokens", None))


def test_a_mask_that_is_named_is_the_one_that_is_meant() -> None:
    assert torch.equal(
        said({"from": ["batch.tokens", "batch.teacher_mask"]}), expected("tokens", BATCH["teacher_mask"])
    )


def test_what_does_not_fit_is_told_without_the_mask() -> None:
    step = parse_step({"nodes": {"s": {"call": "student", "from": ["batch.tokens"], "speed": 3}}}, key="step")
    with pytest.raises(
        InputError, match=r"'s' \(call student\) does not fit its inputs batch.tokens \[4, 6\]: .*'speed'"
    ):
        trace(step, specs={"student": SPEC}, tensors={}, columns={"data": COLUMNS}, batch_size=4, sizes={})


def test_a_virtual_step_looks_at_the_mask_too() -> None:
    from kdrun.step.calls import Call

    step = parse_step({"nodes": {"s": {"call": "student", "from": ["batch.tokens"]}}}, key="step")
    model = build(SPEC, seed=(0,)).eval()
    call = Call(model, step.nodes["s"])
    again = call.functional(dict(model.named_parameters()), BATCH["tokens"], mask=MASK)
    assert torch.equal(again, expected("tokens", MASK))
