#!/bin/sh
# POT 0.9.7.post1 with NumPy 2.4.6 and SciPy 1.17.1: the dual potential of a point without weight is not what weight there would cost.
#
# Guess: `ot.emd(..., log=True)` gives potentials u and v, whose differences say how the value moves with the weights, for points whose weight is 0 as
# well: two points at costs 2 and 5 from a target, weights (1, 0), have u + v = 2 and 5. For such points POT has a step of its own (it is part of
# `center_dual`).
# Seen: u + v = 2 and 0, with that step and without. The potential is feasible and the value right, but the point looks cheaper than it is, so that a
# gradient in the weights leads to points that cost more. The price is the least of cost - v over points with weight: kdrun/ops/transport.py takes that.
#
# Output seen:
#   centred: u + v = 2 0, price = 2 5
#   not centred: u + v = 2 0, price = 2 5
#   value moved by 3 for each unit of weight moved, the potentials say -2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check POT==0.9.7.post1 numpy==2.4.6 scipy==1.17.1
cat >"$folder/show.py" <<'PYTHON'
import numpy as np
import ot

cost, weights, target = np.array([[2.0], [5.0]]), np.array([1.0, 0.0]), np.array([1.0])
for name, centred in (("centred", True), ("not centred", False)):
    _, log = ot.emd(weights, target, cost, log=True, center_dual=centred)
    u, v = log["u"], log["v"]
    price = (cost - v).min(1) + v[0]
    print(f"{name}: u + v = {u[0] + v[0]:g} {u[1] + v[0]:g}, price = {price[0]:g} {price[1]:g}")
moved = (ot.emd2(np.array([0.5, 0.5]), target, cost) - ot.emd2(weights, target, cost)) / 0.5
print(f"value moved by {moved:g} for each unit of weight moved, the potentials say {u[1] - u[0]:g}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/show.py")
echo "$seen"
expected='centred: u + v = 2 0, price = 2 5
not centred: u + v = 2 0, price = 2 5
value moved by 3 for each unit of weight moved, the potentials say -2'
if [ "$seen" = "$expected" ]; then echo "as found: a point without weight has no price"; else echo "changed: expected
$expected"; exit 1; fi
