#!/bin/sh
# OmegaConf 2.3.1 and 2.4.0: one name, two functions.
#
# Guess: OmegaConf 2.4 recommends register_resolver, and 2.3 has a function of that name, too, so a program that calls register_resolver
# where it exists, else register_new_resolver, does the same under both.
# Seen: in 2.3 the name is that of the old kind of resolver (replaced in 2.1), which hands its arguments over as text and keeps answers;
# ${add:1,2} with a function that adds is '12'. In 2.4 it is the new kind, with typed arguments: 3. The only difference to be seen
# before a wrong value is the signature: the new kind takes use_cache.
#
# Output seen:
#   2.3.1 -> '12', takes use_cache: False
#   2.4.0 -> 3, takes use_cache: True
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import inspect
import warnings
from importlib.metadata import version

from omegaconf import OmegaConf

warnings.simplefilter("ignore")
OmegaConf.register_resolver("add", lambda a, b: a + b)
value = OmegaConf.create({"sum": "${add:1,2}"}).sum
takes = "use_cache" in inspect.signature(OmegaConf.register_resolver).parameters
print(f"{version('omegaconf')} -> {value!r}, takes use_cache: {takes}")
PYTHON
seen=""
for release in 2.3.1 2.4.0; do
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "omegaconf==$release"
  seen="$seen$("$folder/venv/bin/python" "$folder/show.py")
"
  rm -rf "$folder/venv"
done
printf '%s' "$seen"
expected="2.3.1 -> '12', takes use_cache: False
2.4.0 -> 3, takes use_cache: True
"
if [ "$seen" = "$expected" ]; then echo "as found: the same name registers two kinds of resolver"; else echo "changed: expected
$expected"; exit 1; fi
