"""What stages give to be shown: each says its ``kind``, and a page draws it by the function and the template of that name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdrun.engine.query import RecordedRun
from kdrun.engine.records import SHOWN, read_if_sound
from kdrun.report.confusion import confusion
from kdrun.report.exhibit_kinds import embedding, images, maps, profile, rankings, scenes, texts

__all__ = ["KINDS", "Exhibit", "drawn", "exhibits_of", "fitting", "within_room"]

Content = Mapping[str, Any]

KINDS: Mapping[str, tuple[str, Callable[[Content], Content]]] = {
    "confusion": ("What is taken for what", confusion),
    "images": ("Images", images),
    "maps": ("Maps", maps),
    "embedding": ("Rows on two axes", embedding),
    "texts": ("Prompts and answers", texts),
    "scenes": ("Scenes", scenes),
    "rankings": ("Ranked answers", rankings),
    "profile": ("Size and speed", profile),
}
"""By kind, its heading and what makes of a record's content what ``templates/site/shown/KIND.html`` draws.

It is also told the run's ``metrics``. A function raises ``KeyError``, ``TypeError``, ``ValueError`` or ``IndexError`` for a content of another form, and bounds what it shows.
"""


@dataclass(frozen=True)
class Exhibit:
    """What one stage gives to be shown, ready to be drawn."""

    stage: str
    kind: str
    title: str
    content: Content = field(repr=False)

    @property
    def weight(self) -> int:
        """About how many bytes it adds to a page."""
        return len(json.dumps(self.content, default=str))


def exhibits_of(run: RecordedRun | None) -> list[Exhibit]:
    """What a run's record says is to be shown, in the order of its stages' names; what cannot be read is left out."""
    if run is None:
        return []
    return drawn(read_if_sound(run.folder / SHOWN), run.record.get("metrics") or {})


def drawn(content: Any, metrics: Any) -> list[Exhibit]:
    """What stages give to be shown, by their names, of a run that measured ``metrics``; what cannot be read is left out."""
    found = []
    for stage, told in content.items() if isinstance(content, Mapping) else ():
        kind = str(told.get("kind")) if isinstance(told, Mapping) else ""
        if kind in KINDS:
            title, draw = KINDS[kind]
            try:
                found.append(Exhibit(str(stage), kind, title, draw({**told, "metrics": metrics})))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
                continue
    return found


MOST_SHOWN = 400_000
"""Bytes of what runs give to be shown on the page of their reproduction; what is beyond stands on their own pages."""


def within_room(exhibits: Mapping[str, Sequence[Exhibit]]) -> dict[str, list[Exhibit]]:
    """By arm, of those that show something, as much as there is room for on a page."""
    found, room = {}, MOST_SHOWN
    for arm, every in exhibits.items():
        shown = []
        for one in every:
            if one.weight <= room:
                room -= one.weight
                shown.append(one)
        if every:
            found[arm] = shown
    return found


def fitting(
    exhibits: Mapping[str, Sequence[Exhibit]], runs: Mapping[str, RecordedRun], hrefs: Mapping[Path, str]
) -> list[dict[str, Any]]:
    """By arm, what its run gives to be shown as far as there is room on a page, and where the rest is."""
    return [
        {"name": arm, "seed": runs[arm].record.get("seed"), "shown": shown, "href": hrefs.get(runs[arm].folder, "")}
        for arm, shown in within_room(exhibits).items()
    ]
