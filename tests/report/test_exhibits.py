"""What runs give to be shown, on pages: each kind is drawn, no text becomes part of a page, and a page stays light."""

from __future__ import annotations

import json
import re

import pytest

from kdrun.engine.query import RecordedRun
from kdrun.report.exhibits import KINDS, exhibits_of
from support.site import SHOWN_KINDS, write_records

EVIL = "</td><script>alert(1)</script><img src=http://example.org/x>"


def spoilt(value):
    """The same content with a text that tries to be code in place of each text; kinds and pictures stay."""
    if isinstance(value, dict):
        return {k: v if k == "kind" else spoilt(v) for k, v in value.items()}
    if isinstance(value, list):
        return [spoilt(one) for one in value]
    return f"{EVIL}{value}" if isinstance(value, str) and not value.startswith("data:") else value


def pages(tmp_path, content):
    """The run's page and the reproduction's, of a record with this content."""
    from kdrun.report.site import write_site

    study = write_records(tmp_path / "runs")
    (study / "kd-seed0" / "shown.json").write_text(json.dumps(content))
    write_site(tmp_path / "runs", tmp_path / "out")
    (paper,) = (tmp_path / "out" / "papers").iterdir()
    return (tmp_path / "out" / "runs" / "distillation-kd-reproduce-small-kd-seed0.html").read_text(), paper.read_text()


def test_each_kind_has_an_example_and_a_template() -> None:
    from kdrun.report import site

    assert set(SHOWN_KINDS) == set(KINDS)
    folder = site.Path(site.__file__).parent / "templates" / "site" / "shown"
    assert {path.stem for path in folder.iterdir()} == set(KINDS)


def test_each_kind_is_drawn_on_both_pages_and_its_texts_stay_text(tmp_path) -> None:
    run, paper = pages(tmp_path, {f"stage_{kind}": spoilt(told) for kind, told in SHOWN_KINDS.items()})
    for text in (run, paper):
        for kind, (title, _) in KINDS.items():
            assert re.search(rf"<h[23]>{title}: (kd, )?stage_{kind}</h[23]>", text), kind
        assert "<script>alert" not in text
        assert set(re.findall(r'<img src="(.{5})', text)) == {"data:"}
        assert "example.org" in text


def test_what_they_say_stands_on_the_page(tmp_path) -> None:
    run, _ = pages(tmp_path, SHOWN_KINDS)
    assert "1 of 2 answers are right" in run
    assert "blue is at rank 2" in run
    assert "what the model gives: 2.5" in run
    assert "the truth: 3" in run
    assert 'alt="one call, row 4: a seven"' in run
    assert "principal axis 1: 75 %" in run
    assert re.search(r"<td>3</td><td>2</td><td>1</td><td>1</td>", run)  # a scene's counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [3, None, [], {}, "x", float("nan")])
def test_a_content_of_another_form_is_left_out(tmp_path, kind: str, change) -> None:
    for word in SHOWN_KINDS[kind]:
        if word != "kind":
            (tmp_path / "shown.json").write_text(json.dumps({"one": {**SHOWN_KINDS[kind], word: change}}))
            for exhibit in exhibits_of(RecordedRun(tmp_path, {})):
                assert exhibit.stage == "one"


def test_many_pictures_are_cut_and_a_page_stays_below_a_megabyte(tmp_path) -> None:
    one = {"row": 0, "picture": f"data:image/png;base64,{'A' * 20_000}"}
    many = {"kind": "images", "groups": [{"name": "many", "images": [one] * 100}]}
    run, paper = pages(tmp_path, {"first": many, "second": many})
    assert "are left out" in run
    assert len(paper) < 1_000_000
    assert "more on <a" in paper


def test_arms_that_were_profiled_are_drawn_over_what_they_cost_beside_the_model_that_they_share(tmp_path) -> None:
    from kdrun.report import trades
    from kdrun.report.records_read import studies_in

    study = write_records(tmp_path / "runs")
    for arm in ("kd", "scratch"):
        models = [
            {**one, "scored": f"{word}.accuracy"}
            for one, word in zip(SHOWN_KINDS["profile"]["models"], ("teacher", "test"), strict=True)
        ]
        (study / f"{arm}-seed0" / "shown.json").write_text(
            json.dumps({"speed": {**SHOWN_KINDS["profile"], "models": models}})
        )
    result = json.loads((study / "results.json").read_text())
    for runs in result["results"].values():
        for metrics in runs.values():
            metrics["teacher.accuracy"] = 0.97
    (study / "results.json").write_text(json.dumps(result))
    (found,) = studies_in(tmp_path / "runs")
    shown = {arm: exhibits_of(found.of_arm(arm)) for arm in found.results}
    score, costs = trades._profiled(found, shown)
    assert score == "test.accuracy"
    assert list(costs) == ["parameters", "FLOPs of a row", "ms, batch of 1", "ms, batch of 64"]
    assert {name: cost for name, (cost, _) in costs["parameters"].items()} == {
        "teacher": 90_000,
        "kd": 6274,
        "scratch": 6274,
    }
    assert costs["parameters"]["kd"][1] == pytest.approx([0.9, 0.91, 0.92])


def test_the_page_of_a_reproduction_draws_each_kind_without_scripts_or_the_site(tmp_path) -> None:
    from kdrun.report.page import Page, write_page

    told = {f"stage_{kind}": spoilt(content) for kind, content in SHOWN_KINDS.items()}
    results = {"kd": {0: {"test.accuracy": 0.5}}, "scratch": {0: {"test.accuracy": 0.25}}}
    plain = {
        "recipe": "study",
        "paper": {},
        "scale": "small",
        "verdicts": [],
        "curves": {},
        "graph": "",
        "config": "",
        "environment": {},
    }
    write_page(tmp_path / "report.html", Page(results=results, shown={"kd": (0, told)}, **plain))
    text = (tmp_path / "report.html").read_text()
    for kind, (title, _) in KINDS.items():
        assert f"<h3>{title}: kd, stage_{kind}</h3>" in text
    assert "<script" not in text
    assert "<link" not in text
    assert ".pictures img" in text  # its own style
    assert set(re.findall(r'<img src="(.{5})', text)) == {"data:"}
    write_page(tmp_path / "without.html", Page(results=results, **plain))
    assert "What runs show" not in (tmp_path / "without.html").read_text()
