#!/bin/sh
# scipy 1.17.1: the noncentral t distribution far below its centre is NaN in patches, between neighbours that are right.
#
# Guess: the power of a t test, 1 - nctdtr(n - 1, effect * sqrt(n), bound), rises to 1 with the number n of pairs and stays there, so that a
# bisection between 2 and 10,000 finds the least n with a power of 0.8.
# Seen: for an effect of 0.559 at a level of 0.025 the value for n = 4761 is 8e-58, for 4762 it is NaN, for 4765 it is 0, and so on: 152 NaN of
# 9,999, all between 4762 and 5041, where the distribution is 0 for all purposes. No warning. scipy.stats.nct.cdf gives NaN there, too. The
# bisection asks at 5001, takes NaN for "too little power", and says that 5,042 pairs are needed. 33 are.
# Searching from below (doubling, then bisecting) never comes near.
#
# Output seen:
#   scipy 1.17.1: 152 NaN of 9999, from n = 4762 to 5041; nct.cdf there: nan
#   least n by bisection from 10000: 5042; by doubling from 2: 33
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import math

import scipy
from scipy.special import nctdtr, stdtrit
from scipy.stats import nct

EFFECT, LEVEL = 0.559, 0.025


def missed(n):
    return float(nctdtr(n - 1, EFFECT * math.sqrt(n), stdtrit(n - 1, 1 - LEVEL / 2)))


def least(low, high):
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if 1 - missed(middle) >= 0.8 else (middle, high)
    return high


lost = [n for n in range(2, 10_001) if math.isnan(missed(n))]
n = lost[0]
there = nct.cdf(stdtrit(n - 1, 1 - LEVEL / 2), n - 1, EFFECT * math.sqrt(n))
print(f"scipy {scipy.__version__}: {len(lost)} NaN of 9999, from n = {n} to {lost[-1]}; nct.cdf there: {there}")
top = 2
while 1 - missed(top) < 0.8:
    top *= 2
print(f"least n by bisection from 10000: {least(1, 10_000)}; by doubling from 2: {least(top // 2, top)}")
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1
seen="$("$folder/venv/bin/python" "$folder/show.py")"
echo "$seen"
expected="scipy 1.17.1: 152 NaN of 9999, from n = 4762 to 5041; nct.cdf there: nan
least n by bisection from 10000: 5042; by doubling from 2: 33"
if [ "$seen" = "$expected" ]; then echo "as found: NaN in patches"; else echo "changed: expected
$expected"; exit 1; fi
