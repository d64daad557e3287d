#!/bin/sh
# s3fs 2026.9.0 (fsspec 2026.9.0): to make a folder below a bucket makes the bucket.
#
# Guess: on an object store, which has no folders, `makedirs("bucket/folder", exist_ok=True)` does nothing, or complains where there is no such bucket.
# Seen: it makes a bucket of that name, so that a letter too few in a URL ends in a new bucket with results in it. Without `makedirs`, to write there
# raises FileNotFoundError, as it should.
#
# Output seen:
#   without makedirs: FileNotFoundError, buckets ['mine']
#   with makedirs: written, buckets ['mine', 'mien']
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import logging

import s3fs
from moto.server import ThreadedMotoServer

logging.disable()
server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
client = {"endpoint_url": f"http://{host}:{port}", "key": "testing", "secret": "testing", "use_listings_cache": False}
fs = s3fs.S3FileSystem(**client)
fs.mkdir("mine")


def write(path):
    try:
        fs.pipe_file(path, b"1")
    except OSError as error:
        return type(error).__name__
    return "written"


def buckets():
    return sorted((one["name"] for one in fs.ls("", detail=True)), key=lambda name: name != "mine")


print(f"without makedirs: {write('mien/results/a')}, buckets {buckets()}")
fs.makedirs("mien/results", exist_ok=True)
print(f"with makedirs: {write('mien/results/a')}, buckets {buckets()}")
server.stop()
PYTHON
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check s3fs==2026.9.0 fsspec==2026.9.0 "moto[server]==5.2.5"
seen=$("$folder/env/bin/python" "$folder/show.py" 2>/dev/null)
echo "$seen"
expected="without makedirs: FileNotFoundError, buckets ['mine']
with makedirs: written, buckets ['mine', 'mien']"
if [ "$seen" = "$expected" ]; then echo "as found: makedirs makes a bucket"; else echo "changed: expected
$expected"; exit 1; fi
