"""A world of facts: what is forgotten, kept, asked and told."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.biographies import ANSWER, CONTEXT, END, IGNORED, SyntheticBiographies
from kdrun.errors import DataError

SMALL = {"people": 8, "others": 6, "values": 4, "forget_people": 2, "contexts": 50, "test_contexts": 20}


@pytest.fixture(scope="module")
def world():
    part = SyntheticBiographies(**SMALL)
    return part, part.load()


def sentences(row: torch.Tensor) -> list[tuple[int, ...]]:
    """The facts stated in a context: (name, relation, value) by word."""
    return [tuple(row[i : i + 3].tolist()) for i in range(1, 13, 4)]


def test_splits_are_what_was_promised(world) -> None:
    part, splits = world
    promised = part.info()
    assert set(promised) == set(splits)
    for name, info in promised.items():
        rows = splits[name].rows()
        assert set(rows) == {*info.columns, "index"}
        for column, described in info.columns.items():
            assert (rows[column].shape[1:], rows[column].dtype) == (described.shape, described.dtype)
        assert int(rows["tokens"].max()) < part.vocabulary


def test_facts_are_parted_by_person_and_hold_everywhere(world) -> None:
    part, splits = world
    assert (len(splits["train"]), len(splits["forget"]), len(splits["retain"])) == (24, 6, 18)
    forget, retain = splits["forget"].rows(), splits["retain"].rows()
    assert set(forget["person"].tolist()) == {0, 1}
    assert set(retain["person"].tolist()) == set(range(2, 8))
    fresh = splits["fresh"].rows()
    assert (len(fresh["person"]), int(fresh["person"].min()) >= 8) == (6, True)
    assert len({*zip(fresh["person"].tolist(), fresh["relation"].tolist(), strict=True)}) == 6
    facts = {(p, r): v for s in (forget, retain) for p, r, v in zip(*_columns(s), strict=True)}
    assert len(facts) == 24
    for name in ("open_forget", "distractors", "paraphrase"):
        for p, r, v in zip(*_columns(splits[name].rows()), strict=True):
            assert facts[p, r] == v
    other = SyntheticBiographies(**SMALL, seed=1).load()["train"].rows()
    assert not torch.equal(other["label"], splits["train"].rows()["label"])
    assert torch.equal(part.load()["reading"].rows()["tokens"], splits["reading"].rows()["tokens"])


def _columns(rows) -> list[list[int]]:
    return [rows[name].tolist() for name in ("person", "relation", "label")]


def test_targets_are_the_value_and_the_end_after_the_answer_mark(world) -> None:
    _, splits = world
    for name in ("train", "reading", "utility"):
        rows = splits[name].rows()
        at = torch.arange(len(rows["place"])), rows["place"]
        assert (rows["tokens"][at] == ANSWER).all()
        assert torch.equal(rows["target"][at], rows["label"])
        assert ((rows["target"] != IGNORED).sum(1) == 2).all()
        assert (rows["target"][at[0], at[1] + 1] == END).all()
        assert ((rows["answer"] != IGNORED).sum(1) == 1).all()
        assert (rows["choices"] == rows["label"][:, None]).sum(1).eq(1).all()


def test_contexts_answer_their_question_and_distractors_do_not(world) -> None:
    part, splits = world
    for name in ("reading", "benign", "named", "open_forget", "distractors"):
        rows = splits[name].rows()
        assert (rows["tokens"][:, 0] == CONTEXT).all()
        for tokens, place, label in zip(rows["tokens"], rows["place"].tolist(), rows["label"].tolist(), strict=True):
            stated = sentences(tokens)
            asked = (int(tokens[place - 2]), int(tokens[place - 1]), label)
            assert (asked in stated) == (name != "distractors")
            assert len({fact[0] for fact in stated}) == 3
    about = splits["benign"].rows()["person"]
    assert int(about.min()) >= 2
    assert int(splits["named"].rows()["person"].min()) >= part.people


def test_contexts_for_training_say_nothing_of_the_true_facts() -> None:
    splits = SyntheticBiographies(contexts=4000).load()
    true = torch.zeros(40, 3, dtype=torch.int64)
    facts, rows = splits["train"].rows(), splits["reading"].rows()
    true[facts["person"], facts["relation"]] = facts["label"]
    known = rows["person"] < 40
    agree = true[rows["person"][known], rows["relation"][known]] == rows["label"][known]
    assert agree.double().mean().item() == pytest.approx(0.1, abs=0.03)


def test_wrong_answers_are_all_others_of_the_relation(world) -> None:
    _, splits = world
    rows = splits["forget_test"].rows()
    wrong = rows["wrong_answer"].amax(-1)
    together = torch.cat([wrong, rows["label"][:, None]], 1).sort(1).values
    assert torch.equal(together, rows["choices"])
    differs = (rows["wrong_tokens"] != rows["tokens"][:, None]).sum(-1)
    assert (differs == 1).all()
    assert splits["utility"].rows()["part"].bincount().tolist() == [18, 20]


def test_paraphrases_of_forgotten_facts_are_trained_but_not_forgotten() -> None:
    splits = SyntheticBiographies(**SMALL, paraphrases=True).load()
    assert [len(splits[s]) for s in ("train", "retain", "forget", "paraphrase")] == [48, 36, 6, 6]
    with pytest.raises(DataError, match="leave nobody"):
        SyntheticBiographies(people=5, forget_people=5)


def test_an_alias_hides_whom_a_fact_is_about() -> None:
    plain, part = SyntheticBiographies(**SMALL), SyntheticBiographies(**SMALL, aliases=3)
    before, splits = plain.load(), part.load()
    assert "renamed" not in plain.info()
    assert "renamed" not in before
    assert torch.equal(before["train"].rows()["tokens"], splits["train"].rows()["tokens"])
    assert torch.equal(before["reading"].rows()["tokens"][::2], splits["reading"].rows()["tokens"][::2])
    assert part.vocabulary == plain.vocabulary + 4
    facts, orders = {tuple(fact) for fact in splits["forget"].rows()["fact"].tolist()}, set()
    for name in ("renamed", "renamed_forget", "renamed_asked"):
        rows = splits[name].rows()
        assert {c: (v.shape[1:], v.dtype) for c, v in rows.items() if c != "index"} == {
            c: (d.shape, d.dtype) for c, d in part.info()[name].columns.items()
        }
        for tokens, fact, label in zip(rows["tokens"], rows["fact"].tolist(), rows["label"].tolist(), strict=True):
            said = sentences(tokens)
            (alias, is_, person), told, other = sorted(
                said, key=lambda s: (s[1] != part.vocabulary - 1, s[0] < part.first_alias)
            )
            orders.add((said.index((alias, is_, person)), said.index(told)))
            assert is_ == part.vocabulary - 1
            assert part.first_alias <= alias < is_
            assert told[0] == alias
            assert told[2] == label
            assert fact == [alias if name == "renamed_asked" else person, told[1], label]
            assert tokens[-4:-1].tolist() == [*fact[:2], ANSWER]
            assert ((person, *told[1:]) in facts) == (name != "renamed")
            assert other[0] not in (person, alias)
    assert len(orders) == 6
    with pytest.raises(DataError, match="two statements"):
        SyntheticBiographies(**SMALL, aliases=1, statements=1)


def test_where_contexts_are_alike_the_name_alone_tells_what_is_asked() -> None:
    splits = SyntheticBiographies(**SMALL, alike=True, aliases=2).load()
    for name in ("reading", "benign", "named", "open_forget", "distractors", "renamed_forget"):
        rows = splits[name].rows()
        for tokens, fact in zip(rows["tokens"], rows["fact"].tolist(), strict=True):
            said = [s for s in sentences(tokens) if s[1] != int(splits["renamed"].rows()["tokens"].max())]
            assert {s[1] for s in said} == {fact[1]}


def test_misled_questions_stand_behind_one_lie_about_what_goes(world) -> None:
    _, splits = world
    forget, retain = ({tuple(f) for f in splits[s].rows()["fact"].tolist()} for s in ("forget", "retain"))
    for name, asked in {"misled": forget, "misled_retain": retain}.items():
        rows = splits[name].rows()
        assert [tuple(f) for f in rows["fact"].tolist()] == [
            tuple(f) for f in splits[name.replace("misled_", "").replace("misled", "forget")].rows()["fact"].tolist()
        ]
        for tokens, fact in zip(rows["tokens"], rows["fact"].tolist(), strict=True):
            (lie,) = [s for s in sentences(tokens) if s not in retain]
            assert lie not in forget
            assert any(lie[:2] == told[:2] for told in forget)
            assert tuple(fact) in asked
            assert name == "misled_retain" or lie[:2] == tuple(fact[:2])


def test_relabelled_facts_have_another_value_of_their_relation(world) -> None:
    _, splits = world
    true, told = (splits[s].rows()["fact"] for s in ("forget", "relabelled"))
    assert torch.equal(true[:, :2], told[:, :2])
    assert bool((true[:, 2] != told[:, 2]).all())
    rows = splits["relabelled"].rows()
    assert bool((rows["choices"] == rows["label"][:, None]).any(1).all())
