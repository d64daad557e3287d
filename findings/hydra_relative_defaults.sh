#!/bin/sh
# Hydra 1.3.8 with OmegaConf 2.3.1: one defaults list, two meanings.
#
# Guess: `defaults: [base]` in method/family/one.yaml names one file, the one beside it (method/family/base.yaml), however one.yaml is reached.
# Seen: chosen directly (method=family/one), the entry is looked up from the group's folder and means method/base.yaml; reached through another
# option (family/two says `defaults: [family/one]`), the same line is looked up from the file's own folder and means method/family/base.yaml,
# whose content lands one level deeper, under method.family. So a file that may be both chosen and built upon must write /method/family/base.
#
# Output seen:
#   family/one -> {'method': {'who': 'method/base'}}
#   family/two -> {'method': {'family': {'who': 'method/family/base'}}}
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hydra-core==1.3.8 omegaconf==2.3.1
mkdir -p "$folder/conf/method/family"
printf 'defaults:\n  - method: base\n' >"$folder/conf/config.yaml"
printf 'who: method/base\n' >"$folder/conf/method/base.yaml"
printf 'who: method/family/base\n' >"$folder/conf/method/family/base.yaml"
printf 'defaults: [base]\n' >"$folder/conf/method/family/one.yaml"
printf 'defaults: [family/one]\n' >"$folder/conf/method/family/two.yaml"
cat >"$folder/show.py" <<'PYTHON'
import sys

from hydra import compose, initialize_config_dir

with initialize_config_dir(sys.argv[1], version_base="1.3"):
    for option in ("family/one", "family/two"):
        print(f"{option} -> {compose('config', [f'method={option}'])}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/show.py" "$folder/conf")
echo "$seen"
expected="family/one -> {'method': {'who': 'method/base'}}
family/two -> {'method': {'family': {'who': 'method/family/base'}}}"
if [ "$seen" = "$expected" ]; then echo "as found: the same entry means two files"; else echo "changed: expected
$expected"; exit 1; fi
