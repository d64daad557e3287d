"""Files that nobody meant, given to ``kdrun check``: each has to end in an experiment or in one line that says what is wrong.

Guided by coverage (atheris): what reaches new code is kept and changed further. The corpus is the shipped recipes; the dictionary the words
of the grammar. Nothing is run, and nothing outside of a temporary folder is written.

pip install atheris
python scripts/fuzz_check.py --minutes 15 --output fuzz      # findings and a summary go to fuzz/
python scripts/fuzz_check.py --replay fuzz/findings/*.yaml   # without atheris
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests")]

SECONDS = 10.0
"""How long an answer may compute."""

GROWTH = 1 << 20
"""KiB by which the process may grow for one file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("fuzz"), help="folder of the corpus, findings and summary")
    parser.add_argument("--replay", nargs="+", type=Path, help="files to answer once, without a search")
    options = parser.parse_args()
    options.output = options.output.absolute()
    replayed = [path.absolute() for path in options.replay or ()]
    with tempfile.TemporaryDirectory(prefix="kdrun-fuzz-") as folder:
        os.chdir(folder)
        if replayed:
            sys.exit(_replay(replayed, Path(folder)))
        _search(options, Path(folder))


def _replay(files: list[Path], folder: Path) -> int:
    from support.answers import Answers

    answers = Answers(folder, SECONDS, GROWTH)
    found = 0
    for file in files:
        answer = answers.of(file.read_bytes())
        found += answer.fault is not None
        print(f"{file.name}: {answer.fault or answer.said or 'an experiment'}")
    return int(found > 0)


def _search(options: argparse.Namespace, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["kdrun"]):
        from support.answers import Answers, remember_defaults

        remember_defaults()
        answers = Answers(folder, SECONDS, GROWTH)
        answers.of((ROOT / "recipes" / "distillation" / "kd.yaml").read_bytes())  # imports all that a check imports
    from fuzz_words import Mutator, dictionary, seeds

    findings, corpus = options.output / "findings", options.output / "corpus"
    findings.mkdir(parents=True, exist_ok=True)
    corpus.mkdir(exist_ok=True)
    for name, content in seeds(ROOT).items():
        (corpus / name).write_bytes(content)
    (options.output / "words.dict").write_text(dictionary())
    mutator = Mutator(
        seeds(ROOT).values(), lambda content, most: atheris.Mutate(content, most)
    )  # another one once it runs
    record = Record(options.output)

    def one(content: bytes) -> None:
        record.add(content, answers.of(content))

    flags = [
        f"-max_total_time={int(options.minutes * 60)}",
        f"-seed={options.seed}",
        f"-dict={options.output / 'words.dict'}",
        f"-artifact_prefix={options.output}/stopped-",
        "-max_len=16384",
        "-len_control=0",
        "-timeout=120",
        "-rss_limit_mb=6000",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one, custom_mutator=mutator)
    atheris.Fuzz()


class Record:
    """What was answered so far; a fault is kept once for each place that it comes from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = self.written = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        self.slowest = 0.0

    def add(self, content: bytes, answer: Any) -> None:
        self.counts["answers"] += 1
        self.counts["experiments" if not answer.said and answer.fault is None else "refusals"] += 1
        self.slowest = max(self.slowest, answer.seconds)
        if answer.fault is not None and answer.place not in self.faults:
            self.faults[answer.place] = answer.fault
            name = hashlib.sha256(answer.place.encode()).hexdigest()[:10]
            (self.folder / "findings" / f"{name}.yaml").write_bytes(content)
            (self.folder / "findings" / f"{name}.txt").write_text(f"{answer.place}\n{answer.fault}\n{answer.trace}")
            print(f"FAULT {name} {answer.place}: {answer.fault[:200]!r}", flush=True)
        if time.monotonic() - self.written > 5:
            self.write()

    def write(self) -> None:
        self.written = time.monotonic()
        told = {**self.counts, "seconds": round(self.written - self.begun), "slowest": round(self.slowest, 2)}
        (self.folder / "summary.json").write_text(json.dumps({**told, "faults": self.faults}, indent=1))


if __name__ == "__main__":
    main()
