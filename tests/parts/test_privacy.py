"""Spans of text that are private."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.dataset import MemoryDataset
from kdrun.data.text import TextCorpus
from kdrun.data.tokenizers import tokenizer
from kdrun.errors import InputError
from kdrun.parts.privacy import privacy_spans
from support.contexts import stage_context
from support.text import TINY


def row_of(text: str) -> MemoryDataset:
    ids = torch.tensor([tokenizer("characters").encode(text)])
    columns = {"tokens": ids[:, :-1], "target": ids[:, 1:], "secret": torch.zeros_like(ids[:, 1:])}
    return MemoryDataset(columns, TextCorpus().info()["train"])


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("code 123 of a", "123"),
        ("call 12-34 5 now", "12-34 5"),
        ("1 is alone, v2", ""),
        ("mail a.b@c.org!", "a.b@c.org"),
        ("77 comes first", "7"),  # the first token of a row is no target
    ],
)
def test_patterns_mark_the_predicted_token(text, private) -> None:
    marked = privacy_spans(row_of(text), context=stage_context()).rows()
    pieces = tokenizer("characters").pieces()
    found = "".join(pieces[i] for i in marked["target"][marked["rho"] == 1].tolist())
    assert found == private
    assert marked["rho"].shape == marked["target"].shape


def test_patterns_are_a_parameter_and_must_be_regular() -> None:
    marked = privacy_spans(row_of("x yes x"), patterns=["yes"], context=stage_context()).rows()
    assert marked["rho"].tolist() == [[0, 1, 1, 1, 0, 0]]
    with pytest.raises(InputError, match="no regular expression"):
        privacy_spans(row_of("abc"), patterns=["("], context=stage_context())
    with pytest.raises(InputError, match="a learned detector is a model"):
        privacy_spans(row_of("abc"), detector="learned", context=stage_context())


def test_the_oracle_knows_what_was_inserted() -> None:
    train = CanaryCorpus(**TINY).load()["train"]
    marked = privacy_spans(train, detector="oracle", context=stage_context()).rows()
    assert torch.equal(marked["rho"], marked["secret"].float())
