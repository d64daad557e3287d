"""The site of results that were written down: verdicts under their own sentences, beside what papers report, without any run."""

from __future__ import annotations

import json
import re

import pytest

from kdrun.config.paths import find_recipe
from support.site import RECORDED

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder with the results of ``kd``, and two recipes at hand."""
    from kdrun.report import results_site

    monkeypatch.setattr(results_site, "recipe_files", lambda: iter(map(find_recipe, ("attention", "kd"))))
    folder = tmp_path / "results" / "distillation"
    folder.mkdir(parents=True)
    (folder / "kd.json").write_text(json.dumps({**RECORDED, "unclaimed": [f"! nobody reads it {EVIL}"]}))
    return tmp_path / "results"


def written(results):
    from kdrun.report.results_site import write_results_site

    page, count = write_results_site(results, results.parent / "out")
    assert (page, count) == (results.parent / "out" / "index.html", 3)
    return results.parent / "out"


def test_the_index_has_what_was_measured_beside_what_the_paper_reports(results) -> None:
    text = (written(results) / "index.html").read_text()
    assert "2 recipes, 1 of them with results" in text
    assert "kd.test.accuracy 0.95, scratch.test.accuracy 0.9" in text
    assert "scratch 146, kd 74 (MNIST, test errors of 10000)" in text
    assert "kd: 29G FLOPs" in text
    assert text.count("not judged") == 1  # attention has claims and no results


def test_a_page_has_claims_arms_budgets_and_graphs(results) -> None:
    text = (written(results) / "papers" / "distillation-kd.html").read_text()
    assert "+0.05 beyond, 95 % interval [+0.04, +0.06]; 5 of 5 seeds" in text
    assert "<td>kd</td><td>5</td><td>0.9500 ± 0.0010</td>" in text
    assert "teacher rows" in text
    graphs = json.loads(re.search(r'id="graph-data">(.*?)</script>', text, re.DOTALL)[1])
    assert list(graphs["arms"]) == ["kd", "scratch", "label_smoothing"]
    titles = [graphs["drawings"][number]["title"] for number in graphs["arms"]["kd"]]
    assert titles == ["run graph", "step of fit_teacher", "step of fit_student"]
    assert len(graphs["drawings"]) < sum(map(len, graphs["arms"].values()))  # what arms share is there once
    assert "transfer.temperature" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_verdict_on_another_sentence_does_not_count(results) -> None:
    path = results / "distillation" / "kd.json"
    content = json.loads(path.read_text())
    content["verdicts"][0]["test"] = "kd.test.accuracy > scratch.test.accuracy + 0.2"
    path.write_text(json.dumps(content))
    out = written(results)
    assert "not judged" in (out / "papers" / "distillation-kd.html").read_text()
    assert "kd.test.accuracy 0.95" not in (out / "index.html").read_text()


def test_a_recipe_without_results_says_what_its_arms_change(results) -> None:
    text = (written(results) / "papers" / "distillation-attention.html").read_text()
    assert "no results yet" in text
    assert "what it changes" in text
    assert "transfer: none" in text


def test_pages_that_show_the_same_are_left_alone_and_links_lead_somewhere(results) -> None:
    out = written(results)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.html")}
    written(results)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.html")} == before
    for path in before:
        assert path.stat().st_size < 1_000_000
        links = set(re.findall(r'(?:src|href)="([^"#]+)"', path.read_text())) - {"data:,"}
        assert all(
            link.startswith("https://arxiv.org/abs/") or (path.parent / link).resolve().is_file() for link in links
        )


def test_a_file_that_holds_no_result_is_named(kdrun, tmp_path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "odd.json").write_text("[1]")
    answer = kdrun("report", "--results", "results")
    assert answer.code == 2
    assert "odd.json holds no result" in answer.err
    assert kdrun("report", "--results", "nowhere").code == 2
