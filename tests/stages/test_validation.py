"""``validate`` in a train stage: curves of rows set aside, the best weights, and an end where none are better."""

from __future__ import annotations

import itertools

import pytest
import torch

from kdrun.errors import Diverged, InputError
from kdrun.runtime.checkpoints import Checkpoints
from support.recipes import write_recipe

NOISY = """
graph:
  fit:
    stage: train
    from: {model: student, data: data.train, valid: data.valid, optimizer: {optimizer}}
    models: {embed: {model: linear, out_features: 10}}
    step:
      nodes:
        noise: {op: uniform, from: [batch.image], low: -0.3, high: 0.3, features: 4}
        s: {call: model, from: [batch.image], taps: {feature: feature}}
        e: {call: embed, from: [s.feature]}
        ce: {op: cross_entropy, from: [s.logits, batch.label]}
        second: {op: cross_entropy, from: [e, batch.label]}
        small: {op: mean_squared_error, from: [noise, noise]}
      minimize: {ce: 1.0, second: 1.0, small: 1.0}
      train: [model, embed]
      optimizer: optimizer
    epochs: 6
  test: {stage: evaluate, from: [fit, data.valid], metrics: [accuracy, nll]}
""".replace("{optimizer}", "optimizer")
SAID = "fit.validate={metrics:[accuracy,nll]%s}"


@pytest.fixture
def run(session, tmp_path):
    """Run the recipe with these overrides; give the session and the fields of its stage."""
    path = write_recipe(tmp_path, NOISY)

    def run(*overrides: str):
        one = session(path, "data.limit=128", "optimizer.lr=0.5", "optimizer.schedule=null", *overrides)
        one.plan()
        one.run()
        return one, one.store.read(one.keys["fit"])

    return run


def weights_of(fields, role="model"):
    return fields[role].state


def same(first, second) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_curve_ends_with_what_the_evaluation_says_and_moves_no_weight(run) -> None:
    one, fields = run(SAID % "")
    log = fields["log"].rows
    assert [row["epoch"] for row in log if row["valid.accuracy"] is not None] == [1, 2, 3, 4, 5, 6]
    (scored,) = one.store.read(one.keys["test"])[""].rows
    assert {name: log[-1][f"valid.{name}"] for name in scored} == pytest.approx(scored, abs=1e-6)
    _, without = run()
    assert same(weights_of(fields), weights_of(without)), "the stage draws as many random numbers as without it"
    assert "valid.accuracy" not in without["log"].rows[0]
    assert {row["lr"] for row in log} == {0.5}


def test_every_second_epoch_and_after_the_last(run) -> None:
    _, fields = run(SAID % ",every:4")
    assert [row["epoch"] for row in fields["log"].rows if row["valid.nll"] is not None] == [4, 6]


def test_the_best_weights_are_those_of_the_best_epoch_with_the_last_beside_them(run) -> None:
    _, fields = run(SAID % ",keep:best,objective:nll,goal:minimize")
    curve = [row["valid.nll"] for row in fields["log"].rows]
    (best,) = fields["best"].rows
    assert best["nll"] == min(curve) < curve[-1], "the rate is such that the last epoch is not the best"
    assert best["epoch"] == curve.index(min(curve)) + 1
    _, short = run(f"fit.epochs={best['epoch']}")
    _, whole = run()
    for role in ("model", "embed"):
        assert same(weights_of(fields, role), weights_of(short, role))
        assert same(weights_of(fields, f"last.{role}"), weights_of(whole, role))
    assert same(weights_of(fields, "last"), weights_of(whole))


def test_it_ends_when_none_was_better_for_so_long(run) -> None:
    _, fields = run(SAID % ",objective:accuracy,patience:1", "fit.epochs=40")
    log = fields["log"].rows
    curve = [row["valid.accuracy"] for row in log]
    assert len(log) < 40
    assert curve[-1] <= max(curve[:-1])
    assert all(later > earlier for earlier, later in itertools.pairwise(curve[:-1]))
    (cost,) = fields["cost"].rows
    assert cost["rows_seen"] == 128 * len(log)


def test_a_crash_changes_nothing(session, tmp_path, monkeypatch) -> None:
    path = write_recipe(tmp_path, NOISY)
    said = (SAID % ",keep:best,objective:accuracy,patience:3", "data.limit=128", "optimizer.lr=0.5")
    calm = session(path, *said)
    calm.run()
    save, saves = Checkpoints.save, 0

    def stop_at_nine(self, step, tensors, meta) -> None:
        nonlocal saves
        saves += 1
        save(self, step, tensors, meta)
        if saves == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", stop_at_nine)
    with pytest.raises(KeyboardInterrupt):
        session(path, *said, f"store={tmp_path / 'other'}", "checkpoint_seconds=0").run()
    monkeypatch.setattr(Checkpoints, "save", save)
    again = session(path, *said, f"store={tmp_path / 'other'}")
    again.run()
    first, second = (one.store.read(one.keys["fit"]) for one in (calm, again))
    assert first["log"].rows == second["log"].rows
    assert first["best"].rows == second["best"].rows
    assert same(weights_of(first), weights_of(second))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("fit.validate={every:2}", "validate has metrics"),
        (SAID % ",evry:2", "no 'evry' (did you mean 'every'?)"),
        (SAID % ",every:0", "a whole number from 1 on, got 0"),
        (SAID % ",keep:best", "say which is better"),
        (SAID % ",objective:nll,goal:less", "a goal is maximize or minimize, got 'less'"),
        (SAID % ",keep:first", "the last or the best weights are kept"),
        (SAID % ",rows:held", "hand in the rows to validate on: from: {held: data.valid}"),
        ("fit.validate={metrics:[acuracy]}", "did you mean 'accuracy'?"),
        ("fit.validate={metrics:[{metric:accuracy,from:[t.logits,batch.label]}]}", "there is no node or input 't'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(session, tmp_path, said, message) -> None:
    with pytest.raises(InputError) as error:
        session(write_recipe(tmp_path, NOISY), said)
    assert message in str(error.value)


def test_an_objective_that_no_metric_gives_is_named(run) -> None:
    with pytest.raises(
        InputError, match=r"no metric gives 'acuracy' \(did you mean 'accuracy'\?\); there are: accuracy, nll"
    ):
        run(SAID % ",objective:acuracy")


def test_an_objective_that_is_no_number_ends_training(run, monkeypatch) -> None:
    monkeypatch.setattr("kdrun.stages.scoring.NodeMetric.score", lambda metric, values: {"nll": float("nan")})
    with pytest.raises(Diverged, match="'nll' of the rows to validate on is NaN after epoch 1"):
        run(SAID % ",objective:nll,goal:minimize")


def test_a_metric_may_read_any_node_of_the_step(run) -> None:
    _, fields = run("fit.validate={metrics:[{metric:accuracy,from:[e,batch.label],name:embedded},accuracy]}")
    assert {"valid.embedded", "valid.accuracy"} <= set(fields["log"].rows[-1])
