"""Folders of runs and stores that a stranger made: nothing is written, read or deleted outside of them, and no code is run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from kdrun.config.compose import Composer
from kdrun.engine.session import Session
from kdrun.engine.store import Store
from kdrun.errors import StoreError
from kdrun.runtime.artifacts import Data, Model

RUN = ("kd", "arm=scratch", "scale=smoke")


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder elsewhere with an old file that nobody is to touch."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "kept").write_text("kept\n")
    os.utime(folder / "kept", (time.time() - 10 * 86400,) * 2)
    return folder


def told(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name", ["objects", "objects/ab", "tmp", "corrupt", "leases", "checkpoints", "checkpoints/tmp"]
)
@pytest.mark.parametrize("command", [("gc", "--yes"), ("doctor",), ("run", *RUN)])
def test_no_link_in_a_store_leads_a_command_out_of_it(tmp_path, kdrun, outside, name, command) -> None:
    link = tmp_path / "store" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    if command[0] != "run" or name != "objects/ab":  # a shelf that this run does not use
        kdrun(*command)
    assert told(outside) == {"kept": "kept\n"}


def test_a_command_says_which_link_is_in_its_way(tmp_path, kdrun, outside) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tmp").symlink_to(outside)
    answer = kdrun("gc", "--yes")
    assert answer.code == 2
    assert f"{tmp_path / 'store' / 'tmp'} is a link" in answer.err


def test_a_stored_result_behind_a_link_is_set_aside_without_what_it_leads_to(tmp_path, outside) -> None:
    store, key = Store(tmp_path / "store"), "ab" * 20
    store.prepare()
    store.place(key).parent.mkdir(parents=True)
    store.place(key).symlink_to(outside)
    store.discard(key, "a link")
    assert not store.contains(key)
    assert told(outside) == {"kept": "kept\n"}


def forge(session: Session, stage: str, artifact: Model | Data) -> None:
    """Store a result of a stage as a stranger would."""
    session.store.prepare()
    session.store.write(session.keys[stage], {"": artifact}, {"node": stage})


STORED = {
    "data": ("chosen", lambda path: Data({"data": "folder", "root": path}, "train", None, {}, None)),
    "a model": ("fit_student", lambda path: Model({"model": "transformers", "name": path, "pretrained": True}, {})),
    "a model inside": (
        "fit_student",
        lambda path: Model({"model": "opaque", "base": {"model": "linear", "weights": path}}, {}),
    ),
}


@pytest.mark.parametrize("kind", STORED)
def test_a_stored_result_reads_nothing_that_the_run_does_not_name(tmp_path, monkeypatch, outside, kind) -> None:
    monkeypatch.chdir(tmp_path)
    node = "+graph.chosen={stage: select, by: first_rows, from: [data.train], k: 8}"
    session = Session(
        Composer.named("kd", [f"store={tmp_path / 'store'}", node, "+results=[chosen,test]"]).compose(arm="scratch")
    )
    stage, make = STORED[kind]
    forge(session, stage, make(str(outside)))
    heard: list[str] = []
    assert session.executor._read(session.keys[stage], damaged=lambda error: heard.append(str(error))) is None
    assert heard == [f"it would read '{outside}', which nothing here names"]


@pytest.fixture
def run(tmp_path: Path, kdrun) -> Path:
    """The folder of a run that ended early, as a stranger may hand it on."""
    assert kdrun("run", *RUN).code == 0
    folder = next((tmp_path / "runs").glob("*/*/result.json")).parent
    record = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**record, "state": "failed"}))
    return folder


def test_records_are_written_through_no_link(tmp_path, kdrun, run, outside) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to(outside / "kept")
    assert kdrun("run", *RUN).code == 0
    assert told(outside) == {"kept": "kept\n"}
    (tmp_path / "runs" / "multirun.yaml").symlink_to(outside / "kept")
    assert kdrun("run", *RUN, "-m", "seed=0,1").code == 2
    assert told(outside) == {"kept": "kept\n"}


def test_no_folder_of_records_is_a_link_that_nobody_said(tmp_path, kdrun, outside) -> None:
    (tmp_path / "runs").symlink_to(outside)
    answer = kdrun("run", *RUN)
    assert (answer.code, told(outside)) == (2, {"kept": "kept\n"})
    assert f"add runs={outside} if you mean it" in answer.err
    (tmp_path / "runs").unlink()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "distillation-kd").symlink_to(outside)
    for command in (("run", *RUN), ("reproduce", "kd", "scale=smoke", "seeds=1", "--arms=scratch")):
        kdrun(*command)
        assert told(outside) == {"kept": "kept\n"}


def test_no_record_is_shown_from_outside_of_the_folder(tmp_path, kdrun, outside) -> None:
    (outside / "inner").mkdir()
    (outside / "inner" / "result.json").write_text('{"recipe": "nobody is to read this", "metrics": {}}')
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "kd").symlink_to(outside)
    for command in (("runs", "--json"), ("list", "runs")):
        assert "nobody" not in kdrun(*command).out


def test_a_model_is_exported_through_no_link_and_from_no_other_store(
    tmp_path, kdrun, run, outside, monkeypatch
) -> None:
    (run / "fit_student.safetensors").symlink_to(outside / "kept")
    assert kdrun("export", str(run)).code == 0
    assert told(outside) == {"kept": "kept\n"}
    assert not (run / "fit_student.safetensors").is_symlink()
    monkeypatch.setenv("KDRUN_STORE", str(outside))
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**record, "store": str(outside.parent)}))
    answer = kdrun("export", str(run))
    assert answer.code == 2
    assert "outside of the working folder: set KDRUN_STORE to it" in answer.err


def test_a_link_is_refused_where_a_folder_of_the_store_is_made(tmp_path, outside) -> None:
    (tmp_path / "locks").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        Store(tmp_path).prepare()
