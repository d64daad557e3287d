"""A static site of results that were written down: an index of all recipes by family, and a page a recipe. No run is read."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kdrun.config.compose import Composer
from kdrun.config.methods import comments
from kdrun.config.paths import RecipeFile, conf_dir, recipe_files
from kdrun.config.writing import yaml_text
from kdrun.engine.query import flat
from kdrun.errors import KdrunError
from kdrun.grammar.nodes import Graph
from kdrun.graph.check import check
from kdrun.report.figures import claims_plot
from kdrun.report.graph_data import compact, drawings
from kdrun.report.recorded import judged, recorded_in
from kdrun.report.records_read import OF_THE_PLACE, OF_THE_WHOLE, differences
from kdrun.report.site import Site, digest_of
from kdrun.report.verdicts_read import reported_text

__all__ = ["write_results_site"]

NOT_JUDGED = "not judged"

Found = Mapping[str, Any]


def write_results_site(results: Path, output: Path) -> tuple[Path, int]:
    """Write the site of the results in a folder; return its first page and how many pages there are.

    Every recipe at hand has a page; verdicts stand under the sentence that they were found for alone. Raises ``InputError`` for a file
    that holds no result, and ``StoreError``.
    """
    found = recorded_in(results)
    site = Site(output)
    site.assets()
    settings = [path for folder in (conf_dir(),) for path in sorted(folder.rglob("*.yaml"))]
    index = []
    for recipe in recipe_files():
        own = found.get(recipe.name)
        composer = Composer(recipe)
        base = composer.base().config
        href = f"papers/{recipe.name.replace('/', '-')}.html"
        digest = digest_of([recipe.path, *settings], own)
        page = functools.partial(result_page, composer, base, own)
        site.write(href, "recipe.html", page, digest=digest, runs_href="")
        index.append({"href": href, **result_row(recipe, base, own)})
    told = f"{len(index)} recipes, {len(found)} of them with results at scale small, as they were written down."
    front = {"title": "Papers and what came of them", "studies": index, "sweeps": [], "lead": told}
    return site.write("index.html", "index.html", lambda: front), site.pages


def _claims(base: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): claim for name, claim in (base.get("claims") or {}).items() if isinstance(claim, Mapping)}


def result_row(recipe: RecipeFile, base: Mapping[str, Any], own: Found | None) -> dict[str, Any]:
    """A line of the index: verdicts, what the first main claim measured beside what the paper reports, and what training took."""
    claims = _claims(base)
    verdicts = judged(claims, own["verdicts"] if own else [])
    main = [(claims[name], v) for name, v in zip(claims, verdicts, strict=True) if v["kind"] == "main"]
    outcomes = [v["outcome"] for _, v in main]
    held = sum(v["outcome"] in ("reproduced", "equal") for v in verdicts)
    paper = base.get("paper") or {}
    title = paper.get("title") or comments(recipe.path)[0]
    return {
        "family": recipe.name.partition("/")[0],
        "recipe": recipe.name,
        "title": title,
        "scale": "small" if own else "",
        "seeds": own["seeds"] if own else "",
        "main": ", ".join(outcomes) if own else NOT_JUDGED if claims else "",
        "tone": outcomes[0] if len(set(outcomes) - {NOT_JUDGED}) == len(set(outcomes)) == 1 else "",
        "claims": f"{held} of {len(verdicts)} hold" if own and verdicts else "",
        "measured": _measured(main[0][1]) if main else "",
        "reported": reported_text(main[0][0].get("reported")) if main else "",
        "seconds": "",
        "cost": _cost(own),
    }


def _measured(verdict: Found) -> str:
    means = {name: mean for name, mean in (verdict.get("means") or {}).items() if mean is not None}
    if means:
        return ", ".join(f"{name} {mean:.4g}" for name, mean in means.items())
    return f"{verdict['distance']:+.4g} beyond the threshold" if verdict.get("distance") is not None else ""


def _cost(own: Found | None) -> str:
    """What the first arm's training takes, in FLOPs, where it was written down."""
    told: tuple[list[str], list[list[str]]] = (own or {}).get("budgets") or ([], [])
    header, rows = told
    return f"{rows[0][0]}: {rows[0][header.index('FLOPs')]} FLOPs" if rows and "FLOPs" in header else ""


def verdicts_of_result(claims: Mapping[str, Any], own: Found | None) -> list[Any]:
    """The recipe's claims with their verdicts, as plots and templates read them."""
    rows = judged(dict(claims), own["verdicts"] if own else [])
    return [_verdict(name, claims[name], row) for name, row in zip(claims, rows, strict=True)]


def _verdict(name: str, claim: Found, row: Found) -> Any:
    mean, low, high = (math.nan if row.get(w) is None else float(row[w]) for w in ("distance", "low", "high"))
    held = f"{row['held']} of {row['seeds']} seeds" if row.get("held") is not None else ""
    told = [held, f"p {row['adjusted_p']:.2g}" if row.get("adjusted_p") is not None else "", row.get("note") or ""]
    interval = f"{mean:+.4g} beyond, 95 % interval [{low:+.4g}, {high:+.4g}]" if not math.isnan(low) else ""
    reported = claim.get("reported")
    return SimpleNamespace(
        name=name,
        says=str(row["says"]),
        kind=str(row["kind"]),
        test=str(row["test"]),
        outcome=str(row["outcome"]),
        note="; ".join(word for word in [interval, *told] if word),
        distance=SimpleNamespace(mean=mean, low=low, high=high, half_width=(high - low) / 2),
        distances=[],
        means={k: v for k, v in (row.get("means") or {}).items() if v is not None},
        reported=reported if isinstance(reported, Mapping) else None,
    )


def result_page(composer: Composer, base: Mapping[str, Any], own: Found | None) -> dict[str, Any]:
    """All that the page of a recipe shows of its results, its arms and their graphs."""
    verdicts = verdicts_of_result(_claims(base), own)
    drawn = [v for v in verdicts if v.outcome != NOT_JUDGED and not math.isnan(v.distance.mean)]
    kinds = dict.fromkeys(v.kind for v in drawn)
    configs: dict[str, Mapping[str, Any]] = {arm: composer.compose(arm=arm).config for arm in base.get("arms") or {}}
    return {
        "title": composer.recipe.name,
        "s": SimpleNamespace(recipe=composer.recipe.name, paper=base.get("paper") or {}),
        "scale": "small",
        "seeds": f"{own['seeds']} seeds" if own else "no results yet",
        "notes": [str(note) for note in base.get("notes") or ()],
        "warnings": list((own or {}).get("unclaimed") or ()),
        "verdicts": verdicts,
        "forests": {kind: claims_plot([v for v in drawn if v.kind == kind]) for kind in kinds},
        "agreements": None,
        "arms": (own or {}).get("arms") or _arms(base),
        "arms_have_means": bool((own or {}).get("arms")),
        "ranking": (own or {}).get("leaderboard"),
        "budgets": (own or {}).get("budgets"),
        "pareto": "",
        "pareto_metric": "",
        "plots": {},
        "curves": {},
        "exhibits": [],
        "graphs": compact(drawings(_graphs(configs or {"as it stands": base}))),
        "apart": differences({arm: flat(config) for arm, config in configs.items()}),
        "command": f"kdrun reproduce {composer.recipe.name}",
        "config": yaml_text({k: v for k, v in base.items() if k not in (*OF_THE_WHOLE, *OF_THE_PLACE)}),
        "environment": [],
    }


def _graphs(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Graph]:
    """By arm, the graph of its configuration; without those that cannot be checked here, as where an extra is missing."""
    found = {}
    for arm, config in configs.items():
        with contextlib.suppress(KdrunError):
            found[arm] = check(config)
    return found


def _arms(base: Mapping[str, Any]) -> tuple[list[str], list[Sequence[str]]]:
    """The arms, each with what it changes, where no means were written down."""
    rows = [
        (str(arm), yaml_text(dict(content)).strip() if content else "")
        for arm, content in (base.get("arms") or {}).items()
    ]
    return ["arm", "what it changes"], [list(row) for row in rows]
