"""Stores behind URLs: what one machine writes another reads, whole or not at all, and of several that want a stage one computes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kdrun.engine import remote_leases
from kdrun.engine.remote_leases import RemoteLease, held_by_other
from kdrun.engine.remote_store import RemoteStore, store_of
from kdrun.errors import CorruptArtifact, InputError, StoreError
from kdrun.runtime.artifacts import Value
from support.recipes import QUICK
from support.stored import stored

KEY = "ab" * 20


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Open the shared store as a machine would that has nothing else in common with others."""

    def machine(name: str) -> RemoteStore:
        monkeypatch.setenv("KDRUN_STORE", str(tmp_path / name))
        store = store_of({"store": f"file://{tmp_path}/shared"})
        assert isinstance(store, RemoteStore)
        store.prepare()
        return store

    return machine


def test_what_one_machine_writes_another_reads_once(machines, tmp_path) -> None:
    first, second = machines("first"), machines("second")
    assert not second.contains(KEY)
    first.write(KEY, {"": Value({"a": 1})}, {"node": "a"})
    second.look_again()
    assert second.contains(KEY)
    assert second.read(KEY)[""].value == {"a": 1}
    for path in (tmp_path / "shared").rglob("*.json"):
        path.unlink()
    assert second.read(KEY)[""].value == {"a": 1}, "it lies here by now"


def test_a_result_without_its_manifest_is_not_there(machines, tmp_path) -> None:
    first, second = machines("first"), machines("second")
    first.write(KEY, {"": Value(1)}, {})
    (tmp_path / "shared" / "objects" / KEY[:2] / KEY / "manifest.json").unlink()
    assert not second.contains(KEY)


def test_what_was_changed_on_the_way_is_told_and_computed_again(machines, session, tmp_path, monkeypatch) -> None:
    machines("first")
    shared = f"store=file://{tmp_path}/shared"
    ready = session("kd", "transfer=none", *QUICK, shared)
    ready.run()
    weights = [p for p in (tmp_path / "shared").rglob("*.safetensors") if p.parent.name == ready.keys["fit_student"]]
    weights[0].write_bytes(weights[0].read_bytes()[:-1] + b"x")
    store = machines("second")
    with pytest.raises(CorruptArtifact, match="checksum"):
        store.read(ready.keys["fit_student"])
    again = session("kd", "transfer=none", *QUICK, shared)
    again.store.root = store.root
    again.executor.result("fit_student")
    assert again.executor.counts["computed"] == 1
    assert machines("third").read(ready.keys["fit_student"])


def test_of_two_machines_one_has_a_key(machines, monkeypatch) -> None:
    first, second = machines("first"), machines("second")
    with first.lock(KEY):
        assert not second.is_free(KEY)
        with second.lock_if_free(KEY) as free:
            assert not free
    assert second.is_free(KEY)
    with second.lock_if_free(KEY) as free:
        assert free


def test_many_that_want_a_lease_have_it_one_at_a_time(tmp_path) -> None:
    import fsspec

    fs, held, most, ended = fsspec.filesystem("file", auto_mkdir=True), [], [], []

    def want() -> None:
        for _ in range(3):
            lease = RemoteLease(fs, f"{tmp_path}/leases/a")
            lease.wait(0.01)
            held.append(1)
            most.append(len(held))
            time.sleep(0.002)
            held.pop()
            lease.give_back()
        ended.append(1)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert (len(ended), max(most)) == (4, 1)


def test_the_lease_of_a_dead_machine_ends_and_one_that_is_renewed_does_not(tmp_path, monkeypatch) -> None:
    import fsspec

    fs, folder = fsspec.filesystem("file", auto_mkdir=True), f"{tmp_path}/leases/a"
    monkeypatch.setattr(remote_leases, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(remote_leases, "RENEWAL_SECONDS", 0.1)
    living, other = RemoteLease(fs, folder), RemoteLease(fs, folder)
    assert living.take()
    time.sleep(1.5)
    assert held_by_other(fs, folder)
    assert not other.take()
    living._over.set()  # as if its machine had died
    living._renewing.join()
    time.sleep(1.2)
    assert other.take()
    assert list(fs.ls(folder, detail=False)) == [other.path]
    other.give_back()


@pytest.mark.parametrize("url", ["nothing://place", "s3:/place"])
def test_a_place_that_nothing_reaches_is_told_in_a_line(url, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    if url == "s3:/place":
        assert not isinstance(store_of({"store": url}), RemoteStore)
    else:
        with pytest.raises(StoreError, match="cannot be opened: Protocol not known"):
            store_of({"store": url})


def test_only_a_folder_is_tidied(kdrun) -> None:
    for command in ("gc", "doctor"):
        answer = kdrun(command, "--store", "s3://bucket/place")
        assert answer.code == InputError.exit_code
        assert "a folder is expected" in answer.err


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a server on this machine that speaks S3."""
    pytest.importorskip("s3fs", reason="pip install 'kdrun[s3]'")
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    import boto3

    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="runs")
    yield "s3://runs/store"
    server.stop()


@pytest.mark.slow
def test_two_machines_share_a_sweep_through_s3(kdrun, tmp_path, bucket) -> None:
    """Both are asked for the same; each stage is computed once, and both end with the bytes of one machine alone."""
    words = ("reproduce", "kd", "seeds=2", "--arms", "kd,scratch", "--jobs", "1", *QUICK)
    assert kdrun(*words, f"store={tmp_path / 'alone'}", f"runs={tmp_path / 'alone_runs'}").code == 0
    running = []
    for name in ("first", "second"):
        environment = {**os.environ, "KDRUN_STORE": str(tmp_path / name)}
        asked = [sys.executable, "-m", "kdrun", *words, f"store={bucket}", f"runs={tmp_path / name / 'runs'}"]
        running.append(subprocess.Popen(asked, env=environment, stderr=subprocess.PIPE, text=True))
    for one in running:
        _, err = one.communicate(timeout=400)
        assert one.returncode == 0, err
    found: dict[str, str] = {}
    counts = []
    for name in ("first", "second"):
        cache = next((tmp_path / name / "remote").iterdir())
        found |= stored(cache)
        counts += [
            json.loads(p.read_text())["counts"]["computed"] for p in (tmp_path / name / "runs").rglob("result.json")
        ]
    assert found == stored(tmp_path / "alone")
    manifests = list((tmp_path / "alone" / "objects").rglob("manifest.json"))
    assert sum(counts) == len(manifests), "nothing is computed twice"


def test_a_bucket_that_is_not_there_is_told_in_a_line_and_not_made(bucket, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("KDRUN_STORE", str(tmp_path / "own"))
    store = store_of({"store": "s3://nowhere/store"})
    with pytest.raises(StoreError, match="the store s3://nowhere/store cannot be reached"):
        store.write(KEY, {"": Value(1)}, {})
    with pytest.raises(StoreError, match="cannot be reached"), store.lock(KEY):
        pass
    assert [path.name for path in Path(store.root).rglob("manifest.json")] == ["manifest.json"], "it lies here"
