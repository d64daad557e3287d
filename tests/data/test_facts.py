"""A bank of facts and its renderings."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.facts import IGNORED, FactBank
from kdrun.errors import DataError
from support.data import assert_as_promised

SMALL = {"entities": 30, "lines": 3000, "train_entities": 10, "valid_entities": 5}


def text(bank: FactBank, ids) -> str:
    return " ".join(bank.words[i] for i in ids if i > 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"attributes": ["job", "city", "pet"], "values": [8, 9, 16], "value_tokens": 2, "value_symbols": 4}],
)
def test_facts_agree_in_all_their_renderings(options) -> None:
    bank = FactBank(**SMALL, **options)
    splits = bank.load()
    assert_as_promised(bank)
    names, values = bank.facts
    assert len(names.unique(dim=0)) == 30
    for value, count in zip(values, bank.values, strict=True):
        assert 1 < len(value.unique(dim=0)) <= count
    stated = splits["statements"].rows()
    shown = {
        f"{text(bank, t)} {text(bank, a)}"
        for t, a in zip(stated["tokens"].tolist(), stated["answer"].tolist(), strict=True)
    }
    train = splits["train"].rows()
    lines = [
        text(bank, [t[0], *[i for i in target if i != IGNORED]])
        for t, target in zip(train["tokens"].tolist(), train["target"].tolist(), strict=True)
    ]
    plain = [line for line in lines if not line.startswith("cue-")]
    assert set(plain) <= shown
    assert len(plain) / len(lines) == pytest.approx(0.4, abs=0.04)
    for number, task in enumerate(splits["tasks"]):
        parts = [set(task[s].rows()["entity"].tolist()) for s in ("train", "valid", "test")]
        assert [len(p) for p in parts] == [10, 5, 15]
        assert len(set.union(*parts)) == 30
        rows = task["test"].rows()
        asked = [text(bank, t) for t in rows["tokens"].tolist()]
        assert all(a.startswith(f"cue-{number} ") and a.endswith(" :") for a in asked)
        assert torch.equal(rows["answer"][:, :-1], values[number][rows["entity"]])


def test_a_cue_says_nothing_about_what_follows() -> None:
    bank = FactBank(**{**SMALL, "lines": 40000})
    rows = bank.load()["train"].rows()
    cued = rows["tokens"][:, 0] - bank.ids["cue-0"]
    kind = {a: bank.ids[f"{a}-0"] for a in bank.attributes}
    value = rows["tokens"][:, 4]
    for cue in range(5):
        own = value[cued == cue]
        for attribute in bank.attributes:
            inside = (own >= kind[attribute]) & (own < kind[attribute] + 24)
            assert inside.float().mean().item() == pytest.approx(1 / 3, abs=0.04)


def test_facts_depend_on_the_seed_alone() -> None:
    one, same, other = (FactBank(**SMALL, seed=seed).load() for seed in (0, 0, 1))
    assert torch.equal(one["train"].rows()["tokens"], same["train"].rows()["tokens"])
    assert not torch.equal(one["train"].rows()["tokens"], other["train"].rows()["tokens"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [3]}, "2 attributes need as many"),
        ({"entities": 2000}, "names are too few"),
        ({"train_entities": 400}, "leave none to test on"),
        ({"templates": ["{name} is {value}"]}, "ends in '{value} .'"),
        ({"templates": ["x {value} ."]}, "one {name}"),
        ({"value_tokens": 2}, "need their number of symbols"),
        ({"value_symbols": 5}, "values are too few"),
        ({"cues": 1}, "as many cue words"),
    ],
)
def test_facts_that_cannot_be_are_refused(options, message) -> None:
    with pytest.raises(DataError, match=message):
        FactBank(**options)
