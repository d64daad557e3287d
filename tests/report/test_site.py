"""The site of all records: what its pages say, what they weigh, and that they ask for nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kdrun.engine.query import RecordedRun
from kdrun.report.site_runs import swept
from support.site import COUNTED, write_records

EVIL = "</script><script>alert(1)</script><img src=http://example.org/x>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site of hand-made records, in which a text tries to be code."""
    from kdrun.report.site import write_site

    top = tmp_path_factory.mktemp("site")
    study = write_records(top / "runs", says=f"a teacher helps {EVIL}")
    result = json.loads((study / "kd-seed0" / "result.json").read_text())
    (study / "kd-seed0" / "result.json").write_text(json.dumps({**result, "error": EVIL, "state": "failed"}))
    page, count = write_site(top / "runs", top / "out")
    assert (page, count) == (top / "out" / "index.html", 10)
    return top / "out"


def data_of(page: str, name: str):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)[1])


def test_the_index_names_verdicts_and_what_the_paper_reports(site) -> None:
    text = (site / "index.html").read_text()
    assert "distillation/kd" in text
    assert "reproduced" in text
    assert "1 of 1 hold" in text
    assert "kd.test.accuracy 0.91" in text
    assert "kd 0.93" in text
    assert "2 ended badly" in text


def test_two_methods_have_two_graphs_and_what_is_a_methods_own_is_marked(site) -> None:
    (path,) = (site / "papers").iterdir()
    graphs = data_of(path.read_text(), "graph-data")
    arms = {arm: [graphs["drawings"][number] for number in numbers] for arm, numbers in graphs["arms"].items()}
    steps = {arm: next(d for d in found if d["title"] == "step of fit_student") for arm, found in arms.items()}
    own = {arm: {n["id"] for n in d["nodes"] if n["own"]} for arm, d in steps.items()}
    assert {"t", "kd"} <= own["kd"]
    assert not {"t", "kd"} & {n["id"] for n in steps["scratch"]["nodes"]}
    kinds = {n["id"]: n["kind"] for n in steps["kd"]["nodes"]}
    assert (kinds["t"], kinds["kd"], kinds["s"], kinds["update main"]) == ("frozen", "loss", "call", "update")
    assert {"from": "kd", "to": "update main", "label": "× 0.9"} in steps["kd"]["edges"]
    assert {"from": "batch", "to": "s", "label": "image"} in steps["kd"]["edges"]


def test_a_recipes_page_has_its_own_configuration_and_the_arms_differences(site) -> None:
    (path,) = (site / "papers").iterdir()
    text = path.read_text()
    assert "transfer.temperature" in text
    shown = text[text.index("Configuration of this recipe") :]
    assert "temperature: 4.0" in shown
    assert "scales:" not in shown
    assert "kdrun reproduce kd" in text
    assert text.count('class="plot log"') == 1


def test_a_recipes_runs_stand_together(site) -> None:
    sweep = data_of((site / "runs" / "distillation-kd.html").read_text(), "sweep-data")
    assert sweep["keys"] == ["arm", "seed"]
    assert (sweep["metrics"], sweep["lowest"]) == (["test.accuracy", "test.nll"], ["test.nll"])
    assert len(sweep["runs"]) == 7
    assert sweep["runs"][0]["name"] == "alone"
    assert (site / "runs" / sweep["runs"][0]["href"].removeprefix("../runs/")).is_file()


def test_no_text_of_a_record_becomes_part_of_a_page(site) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert "<script>alert" not in text
        assert "<img" not in text
        links = set(re.findall(r'(?:src|href)="([^"#]+)"', text)) - {"data:,"}
        outside = {link for link in links if "://" in link}
        assert all(link.startswith("https://arxiv.org/abs/") for link in outside)
        assert all((path.parent / link).resolve().is_file() for link in links - outside)


def test_a_page_is_light_and_is_left_as_it_is_where_nothing_changed(site) -> None:
    from kdrun.report.site import write_site

    weights = {path: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    page, shared = max(weights.values()), sum(w for p, w in weights.items() if p.parent.name == "assets")
    assert page + shared < 1_000_000
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*.html")}
    write_site(site.parent / "runs", site)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*.html")} == before


def test_a_page_is_drawn_anew_only_where_its_records_changed(tmp_path, monkeypatch) -> None:
    from kdrun.report import site_runs
    from kdrun.report.site import write_site

    study = write_records(tmp_path / "runs")
    write_site(tmp_path / "runs", tmp_path / "out")
    drawn = []
    monkeypatch.setattr(site_runs, "curves_plots", lambda *given, **options: drawn.append(given[0]) or ["", ""])
    write_site(tmp_path / "runs", tmp_path / "out")
    assert drawn == []
    curves = json.loads((study / "curves.json").read_text())
    curves["kd"]["0"][0]["ce"] = 7.0
    (study / "curves.json").write_text(json.dumps(curves))
    write_site(tmp_path / "runs", tmp_path / "out")
    assert drawn == ["fit_student"]


def test_broken_records_leave_the_rest_of_the_site(kdrun, tmp_path) -> None:
    study = write_records(tmp_path / "runs")
    (study / "curves.json").write_text("[1]")
    (study / "kd-seed1" / "config.yaml").write_text("[")
    (study / "scratch-seed0" / "config.yaml").write_text("graph: 3")
    other = tmp_path / "runs" / "other" / "reproduce-small"
    other.mkdir(parents=True)
    (other / "results.json").write_text('{"results": {"a": {"x": {}}}}')
    answer = kdrun("report")
    assert (answer.code, answer.out) == (0, "report/index.html  (10 pages)\n"), answer.err
    assert kdrun("report", "--runs", "nowhere").code == 2


def test_assets_say_whose_they_are() -> None:
    from kdrun.report.site import ASSETS

    assert "dagre.LICENSE.txt" in ASSETS


PICTURE = "data:image/png;base64,AAAA"
WRONG = [
    {"row": 5, "label": 1, "answer": 0, "probability": 0.97, "picture": PICTURE},
    {"row": 6, "label": 1, "answer": 0, "probability": 0.9, "picture": "http://example.org/x.png"},
]


def test_a_classifiers_confusion_stands_on_both_its_pages(tmp_path) -> None:
    from kdrun.report.site import write_site

    study = write_records(tmp_path / "runs")
    told = {**COUNTED, "names": ["cat", f"dog{EVIL}"], "wrong": WRONG}
    (study / "kd-seed0" / "shown.json").write_text(json.dumps({"confusion": told}))
    write_site(tmp_path / "runs", tmp_path / "out")
    (paper,) = (tmp_path / "out" / "papers").iterdir()
    own = tmp_path / "out" / "runs" / "distillation-kd-reproduce-small-kd-seed0.html"
    for text in (paper.read_text(), own.read_text()):
        shown = text[text.index("What is taken for what") :]
        assert "11 of 14 rows are right" in shown
        assert re.findall(r'<td class="h(\d+)">(\d+)</td>', shown) == [("8", "8"), ("2", "2"), ("2", "1"), ("8", "3")]
        assert "<td>cat</td><td>10</td><td>80.0 %</td><td>88.9 %</td>" in shown
        assert "<script>alert" not in text
    assert re.findall(r"<img ", own.read_text()) == ["<img "]
    assert f'src="{PICTURE}"' in own.read_text()
    assert "<b>cat</b> 97.0 %" in own.read_text()
    assert "kd, seed 0</summary>" in paper.read_text()
    assert "scratch, seed 0</summary>" not in paper.read_text()
    assert "kd-seed0.html" in paper.read_text()[paper.read_text().index("What runs show") :]


def test_the_method_is_a_column_where_arms_do_not_tell_it() -> None:
    def run(number: int, arm: str | None, method: str) -> RecordedRun:
        record = {
            "arm": arm,
            "method": method,
            "scale": None,
            "seed": 0,
            "overrides": [f"transfer={method}"],
            "metrics": {},
        }
        return RecordedRun(Path(f"nowhere/{number}"), record)

    arms = [run(0, "kd", "kd"), run(1, "plain", "none")]
    assert swept(arms) == ["arm"]
    assert swept([run(2, None, "kd"), run(3, None, "none")]) == ["method"]
    assert swept([*arms, run(4, None, "kd"), run(5, None, "none")]) == ["arm", "method"]
