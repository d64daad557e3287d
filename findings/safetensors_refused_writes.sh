#!/bin/sh
# safetensors 0.8.0 with NumPy 2.4.6: a write that the system refuses is no OSError.
#
# Guess: `save_file` to a disk that is full, or beyond the size that a process may write, raises OSError with `errno`, as `open(...).write` does, so that
# `except OSError as error: if error.errno == errno.ENOSPC` catches it.
# Seen: it raises SafetensorError, which is an Exception and no OSError, and has no `errno`; the number stands in the message alone, "(os error 27)".
# A handler of OSError around a checkpoint misses the one error that it is there for: kdrun/errors.py reads the number from the words.
#
# Output seen (the file is limited to 4096 bytes, the tensor has 80000):
#   open: OSError, errno 27
#   safetensors: SafetensorError, an OSError: False, errno: None, told: (os error 27)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cat >"$folder/show.py" <<'PYTHON'
import re
import resource
import signal
import sys

import numpy as np
from safetensors.numpy import save_file

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
rows = np.zeros(10_000)
try:
    with open(f"{sys.argv[1]}/plain", "wb") as file:
        file.write(rows.tobytes())
except Exception as error:
    print(f"open: {type(error).__name__}, errno {error.errno}")
try:
    save_file({"rows": rows}, f"{sys.argv[1]}/rows.safetensors")
except Exception as error:
    told = re.search(r"\(os error \d+\)", str(error))
    kind, number = type(error).__name__, getattr(error, "errno", None)
    print(f"safetensors: {kind}, an OSError: {isinstance(error, OSError)}, errno: {number}, told: {told and told[0]}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/show.py" "$folder")
echo "$seen"
expected='open: OSError, errno 27
safetensors: SafetensorError, an OSError: False, errno: None, told: (os error 27)'
if [ "$seen" = "$expected" ]; then echo "as found: a refused write is an error of the library's own"; else echo "changed: expected
$expected"; exit 1; fi
