"""Claims as they stood before their results: what was claimed of which miniature, when, and at which seeds it was run."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.engine.records import ready_folder, write_record

__all__ = ["freeze", "late"]

FILE = "claims.json"

SAID = ("claims", "paper", "notes", "seed", "seeds", "looked_at")
"""Keys that say nothing of what is computed at a seed."""


def freeze(folder: Path, config: Mapping[str, Any], seeds: Sequence[int], without: Sequence[str] = ()) -> None:
    """Write down, before anything runs, what is claimed of the runs at ``seeds``; what stands there stays.

    ``config``: the recipe at its scale, without an arm. ``without``: keys that do not change what is computed.
    Raises ``StoreError`` if it cannot be written.
    """
    entries = _read(folder)
    claims, miniature = _claimed(config), _miniature(config, without)
    known = {s for e in entries if (e["claims"], e["miniature"]) == (claims, miniature) for s in e["seeds"]}
    fresh = [seed for seed in seeds if seed not in known]
    if fresh:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        entry = {"date": now, "claims": claims, "miniature": miniature, "seeds": fresh}
        ready_folder(folder, folder.parent.parent, [FILE])  # of the recipe's folder inside that of all runs
        write_record(folder / FILE, [*entries, entry])


def late(folder: Path, config: Mapping[str, Any], seeds: Sequence[int], without: Sequence[str] = ()) -> list[int]:
    """Those of ``seeds`` at which this miniature had been run under other claims before it was run under these."""
    claims, miniature = _claimed(config), _miniature(config, without)
    first: dict[int, str] = {}
    for entry in _read(folder):
        if entry["miniature"] == miniature:
            for seed in entry["seeds"]:
                first.setdefault(seed, entry["claims"])
    return [seed for seed in seeds if first.get(seed, claims) != claims]


def _claimed(config: Mapping[str, Any]) -> str:
    """A hash of what is tested; how it is said and what the paper reports may be worded anew."""
    claims = {name: claim or {} for name, claim in (config.get("claims") or {}).items()}
    return _hash({name: [claim.get(word) for word in ("test", "kind", "confidence")] for name, claim in claims.items()})


def _read(folder: Path) -> list[dict[str, Any]]:
    """The entries so far, oldest first. A file that is none of ours counts as none."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return [
            {
                "date": str(e["date"]),
                "claims": str(e["claims"]),
                "miniature": str(e["miniature"]),
                "seeds": [int(s) for s in e["seeds"]],
            }
            for e in found
        ]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _miniature(config: Mapping[str, Any], without: Sequence[str]) -> str:
    """A hash of what a seed's runs are computed from."""
    kept = {k: v for k, v in config.items() if k not in (*SAID, *without)}
    arms = kept.get("arms") or {}
    kept["arms"] = {name: {k: v for k, v in (arm or {}).items() if k != "exploratory"} for name, arm in arms.items()}
    return _hash(kept)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
