"""Trackers receive figures and cannot break a run."""

from __future__ import annotations

import json
import threading

import pytest

from kdrun import tracking
from kdrun.errors import InputError
from kdrun.tracking import Fanout, start_trackers


def test_local_records_are_json_lines(tmp_path) -> None:
    tracker = start_trackers({"tracker": {"tracker": "local"}}, tmp_path)
    tracker.log({"loss": 0.5}, 10, "fit")
    tracker.log({"loss": 0.25}, 20, "fit")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[1] == {"stage": "fit", "step": 20, "loss": 0.25}


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(tmp_path) -> None:
    class Broken:
        calls = 0

        def log(self, values, step, stage):
            self.calls += 1
            raise OSError("network is gone")

    broken = Broken()
    (good,) = start_trackers({"tracker": {"tracker": "local"}}, tmp_path).trackers
    both = Fanout([broken, good])
    with pytest.warns(UserWarning, match="Broken failed and is left out: network is gone"):
        both.log({"a": 1.0}, 1, "s")
    both.log({"a": 2.0}, 2, "s")
    assert broken.calls == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_tracker_that_hangs_is_left_out_and_the_run_goes_on(tmp_path, monkeypatch) -> None:
    never = threading.Event()

    class Hanging:
        def log(self, values, step, stage):
            never.wait()

        def finish(self, summary):
            raise AssertionError("it is asked no more")

    monkeypatch.setitem(tracking.SECONDS, "log", 0.05)
    both = Fanout([Hanging(), *start_trackers({"tracker": {"tracker": "local"}}, tmp_path).trackers])
    with pytest.warns(UserWarning, match=r"Hanging failed and is left out: no answer in 0\.05 s"):
        both.log({"a": 1.0}, 1, "s")
    both.log({"a": 2.0}, 2, "s")
    both.finish({})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_one_that_hangs_while_it_starts_is_left_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(tracking.SECONDS, "start", 0.05)
    found = Fanout([])
    with pytest.warns(UserWarning, match="'slow' cannot start and is left out: no answer"):
        found.add("slow", threading.Event().wait)
    assert found.trackers == []


def test_an_interrupt_inside_a_tracker_ends_the_run() -> None:
    class Interrupted:
        def log(self, values, step, stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fanout([Interrupted()]).log({"a": 1.0}, 1, "s")


def test_several_at_once(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    tracker = start_trackers(
        {"tracker": {"tracker": "local", "also": ["tensorboard", {"tracker": "tensorboard"}]}}, tmp_path
    )
    tracker.log({"loss": 0.5}, 1, "fit")
    tracker.finish({})
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert (tmp_path / "metrics.jsonl").is_file()
    with pytest.raises(InputError, match="also names trackers"):
        start_trackers({"tracker": {"tracker": "local", "also": [3]}}, tmp_path)
    with pytest.raises(InputError, match="no tracker is called 'tensorbord'"):
        start_trackers({"tracker": {"tracker": "local", "also": ["tensorbord"]}}, tmp_path)


def test_tensorboard_writes_events(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    tracker = start_trackers({"tracker": {"tracker": "tensorboard"}}, tmp_path)
    tracker.log({"loss": 0.5}, 1, "fit")
    tracker.finish({"test.accuracy": 0.9})
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_wandb_is_offline_without_a_key(tmp_path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    tracker = start_trackers({"tracker": {"tracker": "wandb"}}, tmp_path)
    assert len(tracker.trackers) == 2
    tracker.log({"loss": 0.5}, 1, "fit")
    tracker.finish({"test.accuracy": 0.9})
    assert list((tmp_path / "wandb").glob("offline-run-*"))


class Recorded:
    """Stands for a run of the library."""

    def __init__(self) -> None:
        self.logged, self.axes, self.summary = [], [], {}

    def define_metric(self, name: str, **options: object) -> None:
        self.axes.append((name, options.get("step_metric")))

    def log(self, values: dict) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        """Nothing."""


def test_a_run_at_wandb_has_a_name_a_group_tags_and_axes_without_dots(tmp_path, monkeypatch) -> None:
    library = pytest.importorskip("wandb")
    run, given = Recorded(), {}
    monkeypatch.setattr(library, "init", lambda **options: given.update(options) or run)
    about = {
        "recipe": "distillation/kd",
        "arm": "kd",
        "scale": "smoke",
        "method": "distillation/kd",
        "seed": 3,
        "id": "x1",
    }
    config = {"tracker": {"tracker": "wandb", "mode": "offline"}, "epochs": 2}
    said = ["arm=kd", "epochs=2", "store=here", "tracker=wandb"]
    tracker = start_trackers({**config, "run": {**about, "overrides": said}}, tmp_path)
    tracker.log({"ce": 0.5}, 10, "stream[2].model")
    assert (given["name"], given["group"]) == ("kd seed 3 epochs=2", "distillation/kd")
    assert given["tags"] == ["kd", "smoke", "distillation/kd", "seed 3"]
    assert (given["id"], given["resume"]) == ("x1", "allow")
    assert given["config"]["epochs"] == 2
    assert run.axes == [("stream[2]_model/step", None), ("stream[2]_model/*", "stream[2]_model/step")]
    assert run.logged == [{"stream[2]_model/step": 10, "stream[2]_model/ce": 0.5}]


def test_what_was_told_is_not_told_again(tmp_path) -> None:
    config = {"tracker": {"tracker": "local"}}
    start_trackers(config, tmp_path).log({"loss": 0.5}, 10, "fit")
    again = start_trackers(config, tmp_path)
    for step in (10, 20):
        again.log({"loss": 0.25}, step, "fit")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(10, 0.5), (20, 0.25)]


@pytest.mark.slow
def test_mlflow_keeps_a_run_in_its_folder_and_goes_on_in_it(tmp_path, monkeypatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(tracking.SECONDS, "start", 300.0)
    about = {"recipe": "distillation/kd", "arm": "kd", "seed": 3, "id": "x1", "overrides": ["epochs=2"]}
    config = {"tracker": {"tracker": "mlflow"}, "epochs": 2, "optimizer": {"lr": 0.1}, "run": about}
    folder = tmp_path / "run"
    for step in (1, 2):
        tracker = start_trackers(config, folder)
        assert len(tracker.trackers) == 2
        tracker.log({"ce": 0.5 / step}, step, "stream[2].model")
    tracker.finish({"test.accuracy": 0.9})
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("distillation/kd").experiment_id])
    assert run.info.run_name == "kd seed 3 epochs=2"
    assert (run.data.params["optimizer.lr"], run.data.tags["arm"]) == ("0.1", "kd")
    assert run.data.metrics["test.accuracy"] == 0.9
    assert [m.step for m in client.get_metric_history(run.info.run_id, "stream_2_.model/ce")] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
