#!/bin/sh
# torch 2.14.1: use_deterministic_algorithms(True) imports the compiler, and so does the first step of an eager optimizer.
#
# Guess: the call flips a flag that kernels look at, in microseconds; torch.compile's code (torch._dynamo, torch._inductor) is read by
# whoever compiles. Seen: the call also sets an option of the compiler, and for that imports torch._inductor and torch._dynamo: four
# tenths as many modules of torch again as `import torch` itself read, in about nine tenths of its time (1.4 s after 1.6 s). A program that never compiles pays it too, at the
# latest when an optimizer is asked to clear its gradients. Processes that are started for one small run each pay it every time.
#
# Output seen (counts are given in hundreds):
#   after import torch: 700 modules of torch, of the compiler: none
#   after a forward and a backward: of the compiler: none
#   after use_deterministic_algorithms(True): of the compiler: torch._dynamo, torch._inductor
#   modules of torch then: 1.4 times as many
#   after SGD's zero_grad in a fresh process: of the compiler: torch._dynamo, torch._inductor
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cat >"$folder/show.py" <<'PYTHON'
import sys

import torch


def compiler():
    read = [name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]
    return ", ".join(read) or "none"


def count():
    return sum(name.split(".")[0] == "torch" for name in sys.modules)


before = count()
if sys.argv[1] == "flag":
    print(f"after import torch: {before // 100 * 100} modules of torch, of the compiler: {compiler()}")
    model = torch.nn.Linear(3, 3)
    model(torch.ones(2, 3)).sum().backward()
    print(f"after a forward and a backward: of the compiler: {compiler()}")
    torch.use_deterministic_algorithms(True)
    print(f"after use_deterministic_algorithms(True): of the compiler: {compiler()}")
    print(f"modules of torch then: {count() / before:.1f} times as many")
else:
    torch.optim.SGD(torch.nn.Linear(3, 3).parameters(), lr=0.1).zero_grad()
    print(f"after SGD's zero_grad in a fresh process: of the compiler: {compiler()}")
PYTHON
seen=$({ "$folder/venv/bin/python" "$folder/show.py" flag && "$folder/venv/bin/python" "$folder/show.py" optimizer; })
echo "$seen"
expected="after import torch: 700 modules of torch, of the compiler: none
after a forward and a backward: of the compiler: none
after use_deterministic_algorithms(True): of the compiler: torch._dynamo, torch._inductor
modules of torch then: 1.4 times as many
after SGD's zero_grad in a fresh process: of the compiler: torch._dynamo, torch._inductor"
if [ "$seen" = "$expected" ]; then echo "as found: a flag, or an optimizer, reads the compiler"; else echo "changed: expected
$expected"; exit 1; fi
