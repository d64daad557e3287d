#!/bin/sh
# filelock 3.13.0 and 4.3.1: an attempt to take a lock that another process holds changes the file.
#
# Guess: `FileLock(path).acquire(timeout=0)` on a held lock raises `Timeout` and leaves the file alone, so that what the holder wrote into it (its
# process number), and its time of change (when it was last used), stay.
# Seen: 3.13.0 opens the file with O_TRUNC before it asks for the lock: a failed attempt empties it and makes it look just used. Whoever tidies locks
# by age never finds an old one where another process looks at them in between. 4.3.1 leaves content and time as they were.
#
# Output seen:
#   filelock 3.13.0: refused, content '', time changed
#   filelock 4.3.1: refused, content 'held by 1', time as it was
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

path = Path(sys.argv[1])
TRY = "import sys, filelock; filelock.FileLock(sys.argv[1]).acquire(timeout=0)"
with FileLock(path):
    path.write_text("held by 1")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    tried = subprocess.run([sys.executable, "-c", TRY, str(path)], capture_output=True, text=True)
    refused = "refused" if Timeout.__name__ in tried.stderr else f"not refused: {tried.stderr}"
    time = "as it was" if path.stat().st_mtime == 1_000_000_000 else "changed"
    print(f"filelock {version('filelock')}: {refused}, content {path.read_text()!r}, time {time}")
PYTHON
python3 -m venv "$folder/old"
"$folder/old/bin/pip" install --quiet --disable-pip-version-check filelock==3.13.0
python3 -m venv "$folder/new"
"$folder/new/bin/pip" install --quiet --disable-pip-version-check filelock==4.3.1
seen="$("$folder/old/bin/python" "$folder/show.py" "$folder/old.lock")
$("$folder/new/bin/python" "$folder/show.py" "$folder/new.lock")"
echo "$seen"
expected="filelock 3.13.0: refused, content '', time changed
filelock 4.3.1: refused, content 'held by 1', time as it was"
if [ "$seen" = "$expected" ]; then echo "as found: the older version empties a lock that is tried"; else echo "changed: expected
$expected"; exit 1; fi
