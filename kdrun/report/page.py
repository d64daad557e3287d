"""One self-contained HTML page for a reproduction: no scripts, nothing fetched."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdrun.claims import Verdict
from kdrun.claims.values import Results
from kdrun.config.experiment import Experiment
from kdrun.config.writing import yaml_text
from kdrun.report.exhibits import drawn, within_room
from kdrun.report.figures import Curves, claims_plot, curves_plot, metric_plot
from kdrun.report.tables import MARKS, arm_table, figures, metrics_of, tally

__all__ = ["Page", "digest_on_page", "write_page"]


@dataclass(frozen=True)
class Page:
    """Everything that the page shows, as plain data."""

    recipe: str
    paper: Mapping[str, Any]
    scale: str | None
    results: Results
    verdicts: Sequence[Verdict]
    curves: Curves
    graph: str
    config: str
    environment: Mapping[str, Any]
    overrides: Sequence[str] = ()
    ranking: tuple[list[str], list[list[str]]] | None = None
    notes: Sequence[str] = ()
    exploratory: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()
    budgets: tuple[list[str], list[list[str]]] | None = None
    agreements: Sequence[str] = ()
    shown: Mapping[str, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    """By arm, a seed and what stages of its run give to be shown."""

    @classmethod
    def of(
        cls,
        base: Experiment,
        *,
        scale: str | None,
        results: Results,
        verdicts: Sequence[Verdict],
        curves: Curves,
        ranking: tuple[list[str], list[list[str]]] | None = None,
        flags: Sequence[str] = (),
        budgets: tuple[list[str], list[list[str]]] | None = None,
        agreements: Sequence[str] = (),
        shown: Mapping[str, tuple[int, Mapping[str, Any]]] | None = None,
    ) -> Page:
        """Collect a page from a recipe's experiment and its results."""

        from kdrun.engine.records import environment
        from kdrun.graph.check import check
        from kdrun.graph.show import as_svg

        return cls(
            recipe=base.recipe,
            paper=base.config.get("paper") or {},
            scale=scale,
            results=results,
            verdicts=verdicts,
            curves=curves,
            graph=as_svg(check(base.config)),
            config=yaml_text(base.config),
            environment=environment(),
            overrides=base.changes,
            ranking=ranking,
            notes=base.config.get("notes") or (),
            exploratory=base.exploratory,
            flags=flags,
            budgets=budgets,
            agreements=agreements,
            shown=shown or {},
        )


def write_page(path: Path, page: Page) -> None:
    """Render ``page`` to ``path``, unless it is there and shows the same. Raises ``StoreError`` if it cannot be written."""
    content = _digest(page)
    if digest_on_page(path) == content:
        return
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from kdrun.engine.records import write_record

    environment = Environment(
        loader=PackageLoader("kdrun.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    header, rows = arm_table(page.results)
    stages = list(dict.fromkeys(r["stage"] for runs in page.curves.values() for c in runs.values() for r in c))
    plots = {}
    for metric in metrics_of(page.results):
        values = {a: [runs[s][metric] for s in sorted(runs) if metric in runs[s]] for a, runs in page.results.items()}
        plots[metric] = metric_plot(metric, {a: v for a, v in values.items() if v})
    environment.filters["figures"] = figures
    environment.filters["is_arxiv"] = re.compile(r"(\d{4}\.\d{4,5}|[a-z-]+/\d{7})(v\d+)?").fullmatch
    text = environment.get_template("page.html").render(
        page=page,
        header=header,
        rows=rows,
        marks=MARKS,
        tally=[*tally(page.verdicts), *page.flags],
        plots=plots,
        claims=claims_plot(page.verdicts) if page.verdicts else "",
        curves={stage: curves_plot(stage, page.curves) for stage in stages},
        exhibits=_exhibits(page),
        style=(Path(__file__).parent / "assets" / "shown.css").read_text(encoding="utf-8"),
        digest=content,
    )
    write_record(path, text)


def _exhibits(page: Page) -> list[dict[str, Any]]:
    """By arm, what one of its runs gives to be shown, as far as there is room."""
    every = {arm: drawn(told, page.results[arm][seed]) for arm, (seed, told) in page.shown.items()}
    return [{"name": arm, "seed": page.shown[arm][0], "shown": shown} for arm, shown in within_room(every).items()]


def _digest(page: Page) -> str:
    """A hash of all that the page shows and of the code that draws it."""
    sources = [p.read_bytes() for p in sorted(Path(__file__).parent.rglob("*")) if p.suffix in (".py", ".html", ".css")]
    shown = json.dumps(dataclasses.asdict(page), sort_keys=True, default=str)
    return hashlib.sha256(b"".join([shown.encode(), *sources])).hexdigest()


def digest_on_page(path: Path) -> str:
    """The hash of what a page on disk shows; empty if there is none."""
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            found = re.search(r'<meta name="kdrun-content" content="(\w+)">', file.read(1000))
    except (OSError, UnicodeDecodeError):
        return ""
    return found.group(1) if found else ""
