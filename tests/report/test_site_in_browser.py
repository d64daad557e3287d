"""The site in a real browser: by clicks and keys, without a request that leaves the folder, and as a screen reader has it."""

from __future__ import annotations

import importlib.resources
import json
import shutil

import pytest
import torch

from kdrun.config.paths import find_recipe
from kdrun.data.pictures import picture
from kdrun.report import results_site
from support.site import COUNTED, RECORDED, SHOWN_KINDS, write_records

pytestmark = pytest.mark.slow

PAPER = "papers/distillation-kd-reproduce-small.html"
RUNS = "runs/distillation-kd.html"
RECORDED_INDEX, RECORDED_KD = "recorded/index.html", "recorded/papers/distillation-kd.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from kdrun.report.site import write_site

    top = tmp_path_factory.mktemp("site")
    study = write_records(top / "runs")
    wrong = {"row": 5, "label": 1, "answer": 0, "probability": 0.97, "picture": picture(torch.rand(3, 8, 8))}
    for folder in (study / "kd-seed0", study / "scratch-seed0", study.parent / "alone"):
        (folder / "shown.json").write_text(json.dumps({**SHOWN_KINDS, "confusion": {**COUNTED, "wrong": [wrong]}}))
    write_site(top / "runs", top / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_site, "recipe_files", lambda: iter(map(find_recipe, ("attention", "boot", "kd", "skt"))))
        (top / "results" / "distillation").mkdir(parents=True)
        (top / "results" / "distillation" / "kd.json").write_text(json.dumps(RECORDED))
        results_site.write_results_site(top / "results", top / "out" / "recorded")
    return top / "out"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, site):
    """Open a page of the site; what it asks for outside of the folder, or complains of, fails the test."""
    asked, contexts = [], []

    def go(path: str, **options):
        context = browser.new_context(bypass_csp=options.pop("bypass_csp", False), **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        page.goto((site / path).as_uri())
        page.wait_for_selector("html[data-ready=yes]", state="attached")
        return page

    yield go
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("data:", site.as_uri()))] == []


def test_a_graph_is_drawn_for_each_arm_and_a_node_shows_its_path(visit) -> None:
    page = visit(PAPER)
    page.select_option("#graph-which", "step of fit_student")
    names = lambda: set(page.locator("g.node").evaluate_all("all => all.map(n => n.dataset.id)"))  # noqa: E731
    assert {"t", "kd", "update main"} <= names()
    assert page.locator("g.loss rect").count() == 2
    assert page.locator(".edge[marker-end]").count() == page.locator(".edge").count() > 5
    page.click('g.node[data-id="kd"]')
    near = page.locator("g.node.near").evaluate_all("all => all.map(n => n.dataset.id)")
    assert {"kd", "t", "s", "update main"} <= set(near)
    assert "ce" not in near
    page.focus('g.node[data-id="ce"]')
    page.keyboard.press("Enter")
    assert page.locator('g.node[data-id="ce"]').get_attribute("aria-pressed") == "true"
    page.select_option("#graph-arm", "scratch")
    assert "kd" not in names()


def test_curves_turn_logarithmic_by_a_click(visit) -> None:
    page = visit(PAPER)
    assert page.locator(".plot.lin").is_visible()
    page.get_by_role("radio", name="logarithmic").check()
    assert page.locator(".plot.log").is_visible()
    assert not page.locator(".plot.lin").is_visible()


def test_runs_are_sorted_filtered_and_compared(visit) -> None:
    page = visit(RUNS)
    first = page.locator("#runs-table tbody tr:visible td:first-child").first
    page.get_by_role("button", name="test.nll").click()
    assert "kd-seed0" in first.inner_text()
    page.get_by_role("button", name="test.nll").click()
    assert "scratch" in first.inner_text()
    assert page.locator('th[aria-sort="descending"]').inner_text() == "test.nll"
    page.fill("#runs-filter", "scratch finished")
    assert page.locator("#runs-count").inner_text() == "2 of 7"
    assert page.locator("#parallel .line").count() == 2
    page.fill("#runs-filter", "")
    page.select_option("#mean-metric", "test.accuracy")
    page.select_option("#mean-key", "arm")
    assert [row.split("\t")[:2] for row in page.locator("#means tbody").inner_text().splitlines()] == [
        ["kd", "4"],
        ["scratch", "2"],
    ]
    page.select_option("#diff-one", label="reproduce-small/kd-seed0")
    page.select_option("#diff-other", label="reproduce-small/scratch-seed0")
    told = page.locator("#diff tbody").inner_text()
    assert "transfer.temperature" in told
    assert "worse" in told


def test_a_phone_shows_a_page_without_moving_it_sideways(visit) -> None:
    for path in ("index.html", PAPER, RUNS, "runs/distillation-kd-alone.html", RECORDED_INDEX, RECORDED_KD):
        page = visit(path, viewport={"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_hinders_those_who_hear_a_page(visit, scheme: str) -> None:
    pytest.importorskip("axe_playwright_python")
    axe = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text()
    for path in ("index.html", PAPER, RUNS, "runs/distillation-kd-alone.html", RECORDED_INDEX, RECORDED_KD):
        page = visit(path, color_scheme=scheme, bypass_csp=True)
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_the_confusion_of_each_arm_opens_by_the_keyboard(visit) -> None:
    page = visit(PAPER)
    second = page.locator("details", has=page.locator("table.confusion")).nth(1)
    assert not second.locator("table.confusion").is_visible()
    second.locator("summary").first.press("Enter")
    assert second.locator("table.confusion td").all_inner_texts() == ["8", "2", "1", "3"]
    alone = visit("runs/distillation-kd-alone.html")
    assert alone.locator(".pictures:not(.small) img").evaluate(
        "image => [image.naturalWidth, image.naturalHeight]"
    ) == [8, 8]


def test_papers_are_filtered_by_the_keyboard_alone_and_sorted_by_a_click(visit) -> None:
    page = visit(RECORDED_INDEX)
    rows = page.locator("#papers tbody tr:visible")
    assert page.locator("#papers-count").inner_text() == "4 of 4"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.type("distillation reproduced")
    assert page.locator("#papers-count").inner_text() == "1 of 4"
    assert "Distilling the Knowledge" in rows.first.inner_text()
    page.keyboard.press("Tab")  # the table, then its headings
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator('th[aria-sort="ascending"]').inner_text() == "family"
    page.fill("#papers-filter", "")
    page.get_by_role("button", name="paper").click()
    page.get_by_role("button", name="paper").click()
    names = page.locator("#papers tbody a").all_inner_texts()
    assert names == sorted(names, reverse=True)
    page.get_by_role("link", name="distillation/kd").click()
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    assert page.locator("h1").inner_text() == "Distilling the Knowledge in a Neural Network"
    page.select_option("#graph-arm", "scratch")
    assert page.locator("g.node").count() > 3
    page.get_by_text("settings", exact=False).first.click()
    assert page.locator("details[open] td", has_text="transfer.temperature").first.is_visible()


def test_paper_shows_tables_whole_and_no_controls(visit) -> None:
    page = visit(PAPER)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator(".controls").first.is_visible()
    assert page.locator(".plot.lin").first.is_visible()
    assert page.locator(".plot.log").first.is_visible()
    assert page.locator("#arms-table").evaluate("t => getComputedStyle(t.parentElement).overflowX") == "visible"
    assert page.locator("summary").first.is_visible()
