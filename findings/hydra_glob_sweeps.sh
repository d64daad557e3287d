#!/bin/sh
# Hydra 1.3.8 with OmegaConf 2.3.1: a glob sweep sees no nested options, and one that matches nothing succeeds.
#
# Guess: `-m 'method=glob(family/*)'` runs the options in conf/method/family/, since `-m method=family/one,family/two` does; a pattern without a
# match is an error.
# Seen: only options that lie directly in the group are matched, by `**` too; without a match no job runs, nothing is printed, and the exit code is 0,
# so a mistyped sweep looks like one that went well.
#
# Output seen:
#   family/one,family/two: ran one ran two (exit 0)
#   glob(*): ran base (exit 0)
#   glob(**): ran base (exit 0)
#   glob(family/*): (exit 0)
#   glob(absent*): (exit 0)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hydra-core==1.3.8 omegaconf==2.3.1
mkdir -p "$folder/conf/method/family"
cat >"$folder/conf/config.yaml" <<'YAML'
defaults:
  - method: base
  - override hydra/hydra_logging: disabled
  - override hydra/job_logging: disabled
  - _self_
hydra: {output_subdir: null, sweep: {dir: ., subdir: .}}
YAML
for name in base family/one family/two; do printf 'who: %s\n' "$(basename "$name")" >"$folder/conf/method/$name.yaml"; done
cat >"$folder/app.py" <<'PYTHON'
import hydra


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config):
    print("ran", config.method.who)


main()
PYTHON
cd "$folder"
seen=""
for sweep in 'family/one,family/two' 'glob(*)' 'glob(**)' 'glob(family/*)' 'glob(absent*)'; do
    code=0
    said=$("$folder/venv/bin/python" app.py -m "method=$sweep" 2>&1) || code=$?
    seen="$seen$sweep: $(echo "$said" | tr '\n' ' ' | sed 's/ *$//')${said:+ }(exit $code)
"
done
printf '%s' "$seen"
expected='family/one,family/two: ran one ran two (exit 0)
glob(*): ran base (exit 0)
glob(**): ran base (exit 0)
glob(family/*): (exit 0)
glob(absent*): (exit 0)
'
if [ "$seen" = "$expected" ]; then echo "as found: nested options are not seen, and an empty sweep succeeds"; else echo "changed: expected
$expected"; exit 1; fi
