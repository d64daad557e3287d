#!/bin/sh
# hydra-ray-launcher 1.2.2 (ray 2.60.0, hydra-core 1.3.8): the setting for a cluster that is running always ends in an error.
#
# Guess: `hydra/launcher=ray hydra.launcher.ray.init.address=HOST:PORT` runs the jobs on that cluster.
# Seen: whatever is asked of `ray.init`, the launcher adds an `object_store_memory` of 78643200 bytes to it, and Ray takes no size of memory from
# who joins a cluster: an error before the first job. A program that has joined by `ray.init(address=...)` before Hydra launches is left as it is, and
# its jobs run on the cluster.
#
# Output seen:
#   by the setting: ValueError: When connecting to an existing cluster, object_store_memory must not be provided.
#   by who has joined before: ran
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/app.py" <<'PYTHON'
import os

import hydra
import ray

if "JOINS" in os.environ:
    ray.init(address=os.environ["JOINS"], log_to_driver=False)


def run(config):
    print("ran")


if __name__ == "__main__":
    hydra.main(version_base=None, config_path=None)(run)()
PYTHON
cat >"$folder/show.py" <<'PYTHON'
import os
import subprocess
import sys

from ray.cluster_utils import Cluster

nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
words = [sys.executable, sys.argv[1], "-m", "hydra/launcher=ray", f"hydra.launcher.ray.init.address='{nodes.address}'", "+job=1"]
asked = subprocess.run(words, capture_output=True, text=True)
said = [line for line in asked.stderr.splitlines() if line.startswith("ValueError")]
print("by the setting:", said[0] if asked.returncode and said else asked.stderr[-500:])
joined = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "JOINS": nodes.address})
print("by who has joined before:", joined.stderr[-500:] if joined.returncode else "ran")
nodes.shutdown()
PYTHON
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check hydra-core==1.3.8 hydra-ray-launcher==1.2.2 ray==2.60.0
seen=$(cd "$folder" && "$folder/env/bin/python" show.py "$folder/app.py" 2>/dev/null)
echo "$seen"
expected="by the setting: ValueError: When connecting to an existing cluster, object_store_memory must not be provided.
by who has joined before: ran"
if [ "$seen" = "$expected" ]; then echo "as found: the launcher joins no cluster by itself"; else echo "changed: expected
$expected"; exit 1; fi
