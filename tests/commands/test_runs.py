"""``runs`` and ``diff``: records queried, exported, and compared."""

from __future__ import annotations

import csv
import io
import json

import pytest

from support.recipes import QUICK


@pytest.fixture
def records(tmp_path):
    """Two runs with curves, and one that failed."""
    for name, seed, accuracy, error in (("a", 0, 0.5, None), ("b", 1, 0.75, None), ("c", 2, None, "=cmd()")):
        folder = tmp_path / "runs" / "kd" / name
        folder.mkdir(parents=True)
        metrics = {} if accuracy is None else {"test.accuracy": accuracy}
        record = {"recipe": "kd", "arm": "kd", "seed": seed, "metrics": metrics, "seconds": {"fit": 2.0, "test": 0.5}}
        state = {"state": "failed", "error": error} if error else {}
        (folder / "result.json").write_text(json.dumps({**record, **state}))
        (folder / "config.yaml").write_text("optimizer: {lr: 0.1}\n")
        rows = [{"stage": "fit", "epoch": epoch, "step": 10 * epoch, "loss": 1.0 / epoch} for epoch in (1, 2)]
        (folder / "curves.json").write_text(json.dumps(rows))
    return tmp_path


def test_records_leave_as_csv_json_and_parquet(kdrun, records) -> None:
    import pyarrow.parquet

    rows = list(csv.DictReader(io.StringIO(kdrun("runs", "--sort", "test.accuracy", "--format", "csv").out)))
    assert [row["folder"] for row in rows] == ["runs/kd/b", "runs/kd/a", "runs/kd/c"]
    assert [row["test.accuracy"] for row in rows] == ["0.75", "0.5", ""]
    assert rows[2]["error"] == "'=cmd()"  # no formula in anybody's spreadsheet
    assert [json.loads(line)["seed"] for line in kdrun("runs", "--json", "--limit", "2").out.splitlines()] == [0, 1]
    assert kdrun("runs", "seed<2", "--format", "parquet", "--output", "out.parquet").code == 0
    table = pyarrow.parquet.read_table(records / "out.parquet")
    assert table.column("test.accuracy").to_pylist() == [0.5, 0.75]
    assert table.column("seconds").to_pylist() == [2.5, 2.5]
    assert kdrun("runs", "--format", "parquet").code == 2


def test_how_runs_ended_badly_stands_in_the_table(kdrun, records) -> None:
    assert "failed =cmd()" in kdrun("runs").out
    assert kdrun("runs", "state=failed").out.count("runs/kd/") == 1


def test_sql_reads_the_records_and_nothing_else(kdrun, records) -> None:
    pytest.importorskip("duckdb")
    statement = 'select arm, max("test.accuracy") as best, count(*) as n from runs group by arm'
    (row,) = kdrun("runs", "--sql", statement, "--format", "json").out.splitlines()
    assert json.loads(row) == {"arm": "kd", "best": 0.75, "n": 3}
    curves = (
        "select folder, value from curves join stages using (folder) where name = 'loss' and epoch = 2 and seconds > 1"
    )
    assert kdrun("runs", "--sql", curves).out.count("0.5000") == 3
    (records / "secret.csv").write_text("a\n1\n")
    for refused in (
        "select * from 'secret.csv'",
        "copy runs to 'out.csv'",
        "SET enable_external_access = true",
        "selec",
    ):
        answer = kdrun("runs", "--sql", refused)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert not (records / "out.csv").exists()


def test_a_diff_names_what_differs_and_what_moved(kdrun, tmp_path) -> None:
    kdrun("run", "kd", "transfer=none", *QUICK)
    kdrun("run", "kd", "transfer=none", "optimizer.lr=0.01", *QUICK)
    one, other = sorted(path.name for path in tmp_path.glob("runs/*/*"))
    found = json.loads(kdrun("diff", one, other, "--json").out)
    assert found["settings"] == {"optimizer.lr": [0.05, 0.01]}
    assert (found["code"], found["data"], found["versions"], found["unknown"]) == ({}, {}, {}, [])
    assert "fit_student" in found["stages"]["remade"]
    assert "test.nll" in found["metrics"]
    assert "test.nll" in found["lowest"]
    told = kdrun("diff", one, other).out
    assert "optimizer.lr" in told
    assert "the same data" in told
    assert "the same results" in kdrun("diff", one, one).out


def test_a_diff_tells_changed_code_and_data(kdrun, records) -> None:
    for name, digest, data in (("a", "1" * 64, "x"), ("b", "2" * 64, "y")):
        parts = {"parts": {"op kd": digest, "op same": "3"}, "outside": {"data": {"fingerprint": data}}}
        (records / "runs" / "kd" / name / "parts.json").write_text(json.dumps(parts))
    found = json.loads(kdrun("diff", "a", "b", "--json").out)
    assert list(found["code"]) == ["op kd"]
    assert found["data"] == {"data.fingerprint": ["x", "y"]}
    assert "better" in kdrun("diff", "a", "b").out
    assert "did you mean" in kdrun("diff", "a", "bb").err
