"""A real sweep under 200 faults: killed, damaged, without room, crowded; after each, a rerun has to end with the same bytes.

python scripts/faults.py --output faults                 # all of them; as root, full and read-only disks too
python scripts/faults.py --output faults --go-on         # those that were not reached, or went wrong, the last time
python scripts/faults.py --only damage --count 10 --seed 3
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fault_kinds import KINDS
from fault_sweep import CHECKPOINT_SECONDS, Sweep, copied
from fault_trial import Misbehaved, Trial

from kdrun.engine.git_state import git_state

NEED_ROOT = ("full_disk", "read_only")
WORDS = ("set aside", "going on from", "waiting")
"""What is counted in the logs of reruns."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen by chance: moments, files, bits")
    parser.add_argument(
        "--only", action="append", choices=list(KINDS), help="a kind of fault; may be given several times"
    )
    parser.add_argument("--count", type=int, help="faults of each kind (default: 200 in all)")
    parser.add_argument("--case", type=int, help="only the fault of this number, of each kind")
    parser.add_argument("--jobs", type=int, default=1, help="how many faults at a time")
    parser.add_argument(
        "--output", type=Path, help="write OUTPUT.jsonl and OUTPUT.txt, and keep folders of what failed"
    )
    parser.add_argument("--go-on", action="store_true", help="leave out what OUTPUT.jsonl says ended well at this seed")
    options = parser.parse_args()
    options.commit = (git_state() or {}).get("commit")
    with tempfile.TemporaryDirectory(prefix="kdrun-faults-") as folder:
        options.output = (options.output or Path(folder) / "told").absolute()
        options.output.parent.mkdir(parents=True, exist_ok=True)
        if not options.go_on:
            _told(options).unlink(missing_ok=True)
        campaign([one for one in _wanted(options) if one not in _ended_well(options)], Path(folder), options)
        results = _results(options)
        text = table(results)
        options.output.with_suffix(".txt").write_text(text + "\n")
    print(text)
    sys.exit(any(result["problem"] for result in results))


def _told(options: argparse.Namespace) -> Path:
    """Where a line is written as each fault ends."""
    return Path(options.output).with_suffix(".jsonl")


def _results(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The last result of each fault at this seed, in the order of kinds."""
    lines = _told(options).read_text().splitlines() if _told(options).is_file() else []
    found = {(r["kind"], r["number"]): r for r in map(json.loads, lines) if r["seed"] == options.seed}
    return [found[key] for key in sorted(found, key=lambda k: (list(KINDS).index(k[0]), k[1]))]


def _ended_well(options: argparse.Namespace) -> set[tuple[str, int]]:
    return {(r["kind"], r["number"]) for r in _results(options) if not r["problem"]}


def _wanted(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Kinds and numbers, mixed, so that a campaign that is cut off has tried all kinds."""
    kinds = options.only or [kind for kind in KINDS if os.geteuid() == 0 or kind not in NEED_ROOT]
    wanted = [
        ((number + 0.5) / count, kind, number)
        for kind in kinds
        for count in [options.count or KINDS[kind].count]
        for number in ([options.case] if options.case is not None else range(count))
    ]
    return [(kind, number) for _, kind, number in sorted(wanted)]


def campaign(wanted: list[tuple[str, int]], folder: Path, options: argparse.Namespace) -> None:
    """Bring about the faults in ``jobs`` processes; write a line each."""
    sweep = Sweep(folder / "home")
    seconds = prepared(sweep, folder / "bases")
    print(f"the undisturbed sweep takes {seconds:.1f} s; {len(wanted)} faults", flush=True)
    lanes = []
    for lane in range(options.jobs):
        pid = os.fork()
        if not pid:
            _lane(sweep, wanted[lane :: options.jobs], folder / f"lane{lane}", seconds, options)
        lanes.append(pid)
    for pid in lanes:
        os.waitpid(pid, 0)


def prepared(sweep: Sweep, bases: Path) -> float:
    """Make the states to begin from: ``calm``, undisturbed; ``half``, some results gone; ``cut``, killed in training."""
    for name in ("calm", "cut", "half"):
        (bases / name).mkdir(parents=True)
    started = time.monotonic()
    ended = sweep.finish(bases / "calm", bases / "calm.log").wait()
    if ended.code != 0:
        raise SystemExit(f"the undisturbed sweep ended with {ended.code}: {ended.said}")
    seconds = time.monotonic() - started
    copied(bases / "calm", bases / "half")
    for key, name in sweep.keys().items():
        if "kd seed 1" in name or "scratch seed 3" in name:
            shutil.rmtree(bases / "half" / "store" / "objects" / key[:2] / key, ignore_errors=True)

    def at_step(name: str) -> None:
        if "kd seed 0" not in name or "fit_student" not in name:
            return
        if len(list(Path("store/checkpoints").glob("*/0*"))) >= 2:
            os.kill(os.getpid(), 9)
        time.sleep(CHECKPOINT_SECONDS)  # however fast the machine is, a checkpoint falls due

    ended = sweep.start(bases / "cut", bases / "cut.log", at_step=at_step).wait()
    if ended.code != -9:
        raise SystemExit(f"no training could be cut off between two checkpoints: {ended.said}")
    return seconds


def _lane(
    sweep: Sweep, wanted: Iterable[tuple[str, int]], folder: Path, seconds: float, options: argparse.Namespace
) -> None:
    with _told(options).open("a") as told:
        for kind, number in wanted:
            result = judged(sweep, kind, number, folder, seconds, options)
            print(json.dumps(result), file=told, flush=True)
            mark = result["problem"].strip().splitlines()[-1][:300] if result["problem"] else "the same"
            print(f"{kind} {number}: {result['did']}: {mark} ({result['seconds']} s)", flush=True)
    os._exit(0)


def judged(
    sweep: Sweep, kind: str, number: int, folder: Path, seconds: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Bring about one fault, run the sweep again, and compare all it ends with."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chance = random.Random(f"{options.seed} {kind} {number}")
    trial = Trial(sweep, folder.parent / "bases", folder, chance, seconds, number)
    started, did, problem, said = time.monotonic(), "", "", ""
    try:
        did = KINDS[kind].cause(trial)
        if KINDS[kind].judged:
            said = rerun(trial)
    except Misbehaved as error:
        problem = str(error)
    except Exception:
        problem = traceback.format_exc()
    if problem:
        kept = options.output.parent / f"{options.output.name}-{kind}-{number}"
        shutil.copytree(folder, kept, symlinks=True, dirs_exist_ok=True)
    taken = round(time.monotonic() - started, 1)
    heard = {word: said.count(word) for word in WORDS}
    codes = [ended.code for ended in trial.ended]
    told = {"kind": kind, "number": number, "seed": options.seed, "commit": options.commit, "did": did, "codes": codes}
    return {**told, **heard, "problem": problem, "seconds": taken}


def rerun(trial: Trial) -> str:
    """The sweep again, to its end. Raises ``Misbehaved`` if anything differs; returns what it said, and why it set what aside."""
    if (kept := trial.folder / "kept").is_dir():
        copied(kept, trial.place)
    log = trial.folder / "rerun.log"
    ended = trial.sweep.finish(trial.place, log).wait()
    if ended.code != 0 or not ended.orderly:
        raise Misbehaved(f"the rerun ended with {ended.code}: {ended.said[-3000:]}")
    found = json.loads((trial.place / "found.json").read_text())
    expected = json.loads((trial.bases / "calm" / "found.json").read_text())
    for what, value in expected.items():
        if found[what] != value:
            raise Misbehaved(f"{what} differ after the rerun: {_difference(found[what], value)}")
    reasons = [p.read_text(errors="replace") for p in (trial.place / "store").glob("corrupt*/*.reason.txt")]
    said = ended.said + "".join(f"set aside: {reason}" for reason in reasons)
    if trial.must_say and trial.must_say not in said:
        raise Misbehaved(f"the rerun does not say '{trial.must_say}': {said[-1500:]}")
    return said


def _difference(found: Any, expected: Any) -> str:
    if not isinstance(found, dict):
        return f"{found}, expected {expected}"
    return ", ".join(f"{k}: {found.get(k)}" for k in {*found, *expected} if found.get(k) != expected.get(k))[:1000]


def table(results: list[dict[str, Any]]) -> str:
    """A line a kind, and a line for each that went wrong."""
    header = (
        f"{'kind':<16}{'faults':>8}{'the same':>10}" + "".join(f"{word:>15}" for word in WORDS) + f"{'seconds':>10}"
    )
    lines = [header, "-" * len(header)]
    for kind in [*dict.fromkeys(r["kind"] for r in results), "all"]:
        own = [r for r in results if kind in (r["kind"], "all")]
        heard = "".join(f"{sum(r[word] for r in own):>15}" for word in WORDS)
        well = sum(not r["problem"] for r in own)
        lines.append(f"{kind:<16}{len(own):>8}{well:>10}{heard}{sum(r['seconds'] for r in own):>10.0f}")
    wrong = [f"{r['kind']} {r['number']} ({r['did']}): {r['problem']}" for r in results if r["problem"]]
    return "\n".join([*lines, "", *wrong])


if __name__ == "__main__":
    main()
