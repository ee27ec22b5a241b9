#!/usr/bin/env bash
# Gluon's DataLoader and NumPy arrays of int16, uint16, uint32 or uint64, as 16-bit depth maps, X-rays and microscope
# images are read: the first batch raises a KeyError that names a type of NumPy and nothing else, with workers and
# without. int8, uint8, bool, int32 and int64 pass. mx.nd.array, given the same arrays by hand, makes float32 of them, so
# that data seem fine until they go through a loader.
# Who is hit: whoever feeds such images to Gluon by ArrayDataset or a data set of their own.
# Instead: a transform, or __getitem__, that makes them float32 or int32.
set -euo pipefail

[ "$(uname -m)" = x86_64 ] || { echo "not applicable on this CPU: $(uname -m), not x86-64"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=""
probe='import ensurepip, sys, venv; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))'
for candidate in python3.11 python3.10 python3.9 python3.8 python3; do
    if "$candidate" -c "$probe" 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "needs Python 3.8 to 3.11" >&2; exit 2; }
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    numpy==1.23.5 mxnet==1.9.1 graphviz==0.8.4 requests==2.32.3

cat >"$work/run.py" <<'PYTHON'
import platform
import warnings

warnings.simplefilter("ignore")
import mxnet as mx
import numpy as np
from mxnet.gluon.data import ArrayDataset, DataLoader

lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
about = {name.strip(): value.strip() for name, value in lines.items()}
print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
print("CPU:", about.get("model name", platform.machine()), "(any will do)")
print("expected: a batch of each type of number, as mx.nd.array makes of each")
seen = {}
for name in ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
    images = [np.full((4, 4), 3, name) for _ in range(4)]
    for workers in (0, 1):
        try:
            batch = next(iter(DataLoader(ArrayDataset(images), 2, num_workers=workers)))
            seen[name, workers] = str(np.dtype(batch.dtype))
        except KeyError as error:
            seen[name, workers] = "KeyError: %s" % error
    by_hand = np.dtype(mx.nd.array(images[0]).dtype)
    print("seen: %-6s by DataLoader: %s; by mx.nd.array: %s" % (name, seen[name, 0], by_hand))
refused = sorted({name for (name, _), answer in seen.items() if answer.startswith("KeyError")})
assert refused == ["int16", "uint16", "uint32", "uint64"], "other types are refused now: %s" % refused
assert all(seen[name, 0] == seen[name, 1] for name, _ in seen), "workers make a difference now"
print("as documented: no batch of", ", ".join(refused))
PYTHON
"$work/venv/bin/python" "$work/run.py"
