"""Peak memory of a chain of models, each trained for one step from the one before: it does not grow with the chain.

python scripts/benchmark_memory.py [--lengths 10 100 1000]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPE = """# @package _global_
# a chain of models
defaults: [{{override /protocol: null}}, {{override /transfer: null}}, {{override /student: mlp_tiny}}, {{override /data: digits}}]
student: {{hidden: [1024, 1024]}}
data: {{limit: 64}}
graph:
  chain:
    foreach: {{step: {length}, carry: {{model: student}}}}
    do:
      model:
        stage: train
        from: {{model: model.before, data: data.train, optimizer: optimizer}}
        step: supervised
        steps: 1
  test: {{stage: evaluate, from: [chain.last, data.test], metrics: [accuracy]}}
"""


def run(length: int) -> None:
    """Run a chain in this process and print its peak resident memory in MiB."""
    from kdrun.config.compose import Composer
    from kdrun.engine.session import Session

    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "chain.yaml"
        recipe.write_text(RECIPE.format(length=length))
        Session(Composer.named(str(recipe), [f"store={folder}/store"]).compose()).run()
    print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run(options.one)
        return
    print("models in the chain (1.1 million parameters, 4.3 MiB each)   peak memory")
    for length in options.lengths:
        found = subprocess.run(
            [sys.executable, __file__, "--one", str(length)], capture_output=True, text=True, check=True
        )
        print(f"{length:<60} {found.stdout.strip()} MiB")


if __name__ == "__main__":
    main()
