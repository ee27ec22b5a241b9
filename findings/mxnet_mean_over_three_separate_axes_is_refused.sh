#!/usr/bin/env bash
# MXNet 1.9.1 infers the shape of any sum, mean, maximum or broadcast, and then refuses some of them when they run. Axes
# that lie side by side and are treated alike count as one; at most five such groups may be left. So the mean over blocks
# of an image, a reshape to (N, C, H/2, 2, W/2, 2) and the mean over axes 3 and 5, has four groups and runs. The same of
# a volume, (N, C, D/2, 2, H/2, 2, W/2, 2) over 3, 5 and 7, has six and raises "Too many reduction axes"; NumPy and ONNX
# Runtime compute it. Symbols, NDArrays and mx.np do alike, and so do broadcasts of six groups.
# Who is hit: pooling, pixel shuffling and windows of attention that are written with reshapes, once in three dimensions.
# Converters and graph passes that ask only for shapes find nothing wrong.
# Instead: reduce in two steps, the last axis first.
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

import mxnet as mx
import numpy as np

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")


def outcome(work):
    """Return the shape of a result, or the last line of MXNet's error."""
    try:
        return work().asnumpy().shape
    except mx.base.MXNetError as error:
        return str(error).strip().splitlines()[-1].replace("MXNetError: ", "")


def main():
    lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
    flags = {name.strip(): value.strip() for name, value in lines.items()}
    print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
    print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags["flags"].split()))
    image = np.arange(2 * 3 * 16, dtype=np.float32).reshape(2, 3, 2, 2, 2, 2)
    volume = np.arange(2 * 3 * 64, dtype=np.float32).reshape(2, 3, 2, 2, 2, 2, 2, 2)

    print("expected: blocks of images and of volumes are averaged alike, as their shapes are inferred")
    symbol = mx.sym.mean(mx.sym.var("data"), axis=(3, 5, 7))
    shape = symbol.infer_shape(data=volume.shape)[1][0]
    assert shape == volume.mean(axis=(3, 5, 7)).shape
    found = {
        "blocks of images": outcome(lambda: mx.nd.mean(mx.nd.array(image), axis=(3, 5))),
        "blocks of volumes": outcome(lambda: mx.nd.mean(mx.nd.array(volume), axis=(3, 5, 7))),
        "blocks of volumes, as a Symbol": outcome(lambda: symbol.eval(data=mx.nd.array(volume))[0]),
        "blocks of volumes, mx.np": outcome(lambda: mx.np.mean(mx.np.array(volume), axis=(3, 5, 7))),
        "six axes broadcast in turn": outcome(
            lambda: mx.nd.broadcast_add(mx.nd.ones((2, 1, 2, 1, 2, 1)), mx.nd.ones((1, 2, 1, 2, 1, 2)))
        ),
    }
    for name, each in found.items():
        print("seen: %s: %s" % (name, each))
    assert found.pop("blocks of images") == (2, 3, 2, 2), "the mean over blocks of images has changed"
    assert all(isinstance(each, str) and each.startswith("Too many") for each in found.values()), "MXNet runs them now"
    steps = mx.nd.mean(mx.nd.mean(mx.nd.array(volume), axis=7), axis=(3, 5)).asnumpy()
    assert np.allclose(steps, volume.mean(axis=(3, 5, 7))), "two steps compute something else"
    print("seen: two steps return what NumPy does")
    print("as documented: shapes that are inferred are refused when they run")


main()
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
