"""A static site of all records: an index, a page a reproduction, a page a recipe's runs, and a page a run. No server; nothing is fetched."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.engine.query import RecordedRun
from kdrun.engine.records import recorded_runs, write_record
from kdrun.errors import printable
from kdrun.report.page import digest_on_page
from kdrun.report.records_read import studies_in
from kdrun.report.site_pages import index_row, recipe_page
from kdrun.report.site_runs import run_page, runs_page
from kdrun.report.tables import MARKS, number
from kdrun.runtime.files import ensure_folder, refuse_links

__all__ = ["Site", "digest_of", "write_site"]

ASSETS = ("site.css", "shown.css", "site.js", "dagre.min.js", "dagre.LICENSE.txt")


def write_site(runs: Path, output: Path) -> tuple[Path, int]:
    """Write the site of the records under ``runs``; return its first page and how many pages there are. Raises ``StoreError``."""
    site = Site(output)
    site.assets()
    studies = studies_in(runs)
    by_recipe = _by_recipe(runs)
    hrefs = {
        run.folder: f"runs/{_slug(run.folder.relative_to(runs))}.html" for found in by_recipe.values() for run in found
    }
    sweeps = {recipe: f"runs/{_slug(recipe)}.html" for recipe in by_recipe}
    index = []
    for study in studies:
        href = f"papers/{_slug(study.folder.relative_to(runs))}.html"
        own = {run.folder: f"../{hrefs[run.folder]}" for run in study.runs if run.folder in hrefs}
        more = {"runs_href": f"../{sweeps.get(study.recipe, 'index.html')}"}
        read = _files([study.folder, *(run.folder for run in study.runs)])
        page = functools.partial(recipe_page, study, own)
        site.write(href, "recipe.html", page, digest=digest_of(read, own, more), **more)
        index.append({"href": href, **index_row(study)})
    for recipe, found in by_recipe.items():
        own = {run.folder: f"../{hrefs[run.folder]}" for run in found}
        site.write(sweeps[recipe], "runs.html", functools.partial(runs_page, recipe, found, own))
        more = {"runs_href": f"../{sweeps[recipe]}"}
        for run in found:
            digest = digest_of(_files([run.folder]), run.record, more)
            site.write(hrefs[run.folder], "run.html", functools.partial(run_page, run), digest=digest, **more)
    told = [
        {"recipe": recipe, "href": sweeps[recipe], "runs": len(found), "bad": _bad(found)}
        for recipe, found in by_recipe.items()
    ]
    count = sum(len(found) for found in by_recipe.values())
    lead = f"{len(studies)} reproductions, {count} runs. Verdicts are those of the scale that is named."
    front = {"title": "What was run", "studies": index, "sweeps": told, "lead": lead}
    return site.write("index.html", "index.html", lambda: front), site.pages


def _bad(runs: Sequence[RecordedRun]) -> int:
    return sum(run.record["state"] not in ("finished", "running") for run in runs)


def _by_recipe(runs: Path) -> dict[str, list[RecordedRun]]:
    found: dict[str, list[RecordedRun]] = {}
    for folder, record in recorded_runs(runs):
        found.setdefault(str(record["recipe"]), []).append(RecordedRun(folder, record))
    return dict(sorted(found.items()))


def _slug(name: str | Path) -> str:
    """A name as a file's: letters, digits and a few signs; what else there is becomes its number, so that no two share one."""
    text = name.as_posix() if isinstance(name, Path) else name
    return re.sub(r"[^\w.=,-]", lambda found: "-" if found[0] == "/" else f"~{ord(found[0]):x}", text)


class Site:
    """Writes pages from templates, under a folder."""

    def __init__(self, output: Path) -> None:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        self.output, self.pages = output, 0
        environment = Environment(
            loader=PackageLoader("kdrun.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        environment.filters["is_arxiv"] = re.compile(r"(\d{4}\.\d{4,5}|[a-z-]+/\d{7})(v\d+)?").fullmatch
        environment.filters["data"] = lambda value: Markup(_embedded(value))
        environment.filters["figure"] = _figure
        environment.globals["marks"] = MARKS
        self.environment = environment

    def assets(self) -> None:
        """Put what pages share beside them."""
        refuse_links(self.output / "assets", self.output)
        ensure_folder(self.output / "assets", self.output)
        for name in ASSETS:
            target = self.output / "assets" / name
            target.unlink(missing_ok=True)
            shutil.copyfile(Path(__file__).parent / "assets" / name, target)

    def write(
        self, href: str, template: str, content: Callable[[], Mapping[str, Any]], *, digest: str = "", **more: Any
    ) -> Path:
        """Render a page, unless it is there and the same; with a ``digest`` of all that it shows, without making it to see."""
        path = self.output / href
        self.pages += 1
        if digest and digest_on_page(path) == digest:
            return path
        more |= {"root": "../" * href.count("/"), "digest": digest}
        text = self.environment.get_template(f"site/{template}").render(**{**content(), **more})
        try:
            if path.is_file() and not path.is_symlink() and path.read_text(encoding="utf-8") == text:
                return path
        except (OSError, UnicodeDecodeError):
            pass
        ensure_folder(path.parent, self.output)
        return write_record(path, text)


def _files(folders: Iterable[Path]) -> list[Path]:
    """The records in folders that pages read."""
    return [path for folder in folders for path in sorted(folder.glob("*.*")) if path.suffix in (".json", ".yaml")]


def digest_of(files: Iterable[Path], *more: Any) -> str:
    """A hash of what stands in files, of what else a page shows, and of when the code that draws it was last changed."""
    found = hashlib.sha256(f"{_code()} {more}".encode())
    for path in files:
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            content = b""
        found.update(f"{path} {len(content)} ".encode())
        found.update(content)
    return found.hexdigest()


@functools.cache
def _code() -> str:
    """When each file of kdrun was last changed."""
    files = sorted(p for p in Path(__file__).parents[1].rglob("*") if p.suffix in (".py", ".html"))
    return " ".join(str(path.stat().st_mtime_ns) for path in files)


def _embedded(value: Any) -> str:
    """JSON that may stand in a page: no text in it ends a script. What is no number in JSON is null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))) else value


def _figure(value: Any) -> str:
    if value is None:
        return ""
    return number(value) if isinstance(value, float) else printable(value, line=True)
