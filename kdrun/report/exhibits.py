"""What stages give to be shown: each says its ``kind``, and a page draws it by the function and the template of that name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdrun.engine.query import RecordedRun
from kdrun.engine.records import SHOWN, read_if_sound
from kdrun.report.confusion import confusion
from kdrun.report.exhibit_kinds import embedding, images, maps, rankings, scenes, texts

__all__ = ["KINDS", "Exhibit", "exhibits_of"]

Content = Mapping[str, Any]

KINDS: Mapping[str, tuple[str, Callable[[Content], Content]]] = {
    "confusion": ("What is taken for what", confusion),
    "images": ("Images", images),
    "maps": ("Maps", maps),
    "embedding": ("Rows on two axes", embedding),
    "texts": ("Prompts and answers", texts),
    "scenes": ("Scenes", scenes),
    "rankings": ("Ranked answers", rankings),
}
"""By kind, its heading and what makes of a record's content what ``templates/site/shown/KIND.html`` draws.

A function raises ``KeyError``, ``TypeError``, ``ValueError`` or ``IndexError`` for a content of another form, and bounds what it shows.
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
    content = read_if_sound(run.folder / SHOWN)
    found = []
    for stage, told in content.items() if isinstance(content, Mapping) else ():
        kind = str(told.get("kind")) if isinstance(told, Mapping) else ""
        if kind in KINDS:
            title, drawn = KINDS[kind]
            try:
                found.append(Exhibit(str(stage), kind, title, drawn(told)))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
                continue
    return found
