#!/usr/bin/env bash
# Pooling with pooling_convention='full' (ceil_mode=True in Gluon) of MXNet 1.9.1 has a last window that may lie wholly
# behind the data. The maximum of nothing is then the lowest float, -3.4e38, a row and a column of it; a convolution or
# a mean behind makes infinities of them. Average and sum pooling return 0 there. PyTorch, ONNX and, with padding,
# Caffe, which 'full' is said to be compatible with, leave out every window that starts behind the data, so that their
# output is one row and one column smaller.
# Max pooling also passes over NaN: a window of nothing but NaN gives -3.4e38 too, where mx.nd.max gives NaN.
# Who is hit: networks that were brought over from frameworks that round up, if ceil((x + 2p - k) / s) * s - p >= x for
# data of size x, kernel k, stride s, padding p: 2x2 with stride 2 and padding 1 on odd sizes, 1x1 with stride 2 on even
# ones. The usual 3x3 with stride 2 is not.
# Instead: pooling_convention='valid' in exactly these cases, where it leaves out that window and no other; if only one
# axis is like this, 'full' and slice_axis behind it.
set -euo pipefail

[ "$(uname -m)" = x86_64 ] || { echo "not applicable on this CPU: $(uname -m), not x86-64"; exit 0; }
if ! grep -qw avx2 /proc/cpuinfo; then
    echo "not applicable on this CPU: it has no avx2"
    exit 0
fi
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
import math
import platform
import warnings

warnings.simplefilter("ignore")
import mxnet as mx
import numpy as np

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags.get("flags", "").split()))

LOWEST = np.finfo(np.float32).min
# Size of the data, kernel, stride, padding; whether the last window lies behind the data.
CASES = (((6, 3, 2, 0), False), ((5, 2, 2, 1), True), ((5, 3, 3, 1), True), ((4, 1, 2, 0), True), ((3, 2, 3, 0), True))


def pooled(size, kernel, stride, pad, kind, convention):
    square = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad)}
    return mx.sym.Pooling(
        mx.sym.var("data"), pool_type=kind, pooling_convention=convention, count_include_pad=False, **square
    )


def run(symbol, data, **params):
    arrays = {"data": mx.nd.array(data), **{name: mx.nd.array(value) for name, value in params.items()}}
    return symbol.bind(mx.cpu(), arrays, grad_req="null").forward(is_train=False)[0].asnumpy()


def rounded_up(data, size, kernel, stride, pad, reduce):
    """Pool with rounding up, without windows that start behind the data."""
    count = math.ceil((size + 2 * pad - kernel) / stride) + 1
    starts = [index * stride - pad for index in range(count) if index * stride - pad < size]
    cuts = [slice(max(start, 0), start + kernel) for start in starts]
    return np.array([[reduce(data[0, 0, rows, columns]) for columns in cuts] for rows in cuts])


print("expected: windows behind the data are left out, so that all values come of the data, here 1 and more")
for case, behind in CASES:
    size = case[0]
    data = np.arange(1, size * size + 1, dtype=np.float32).reshape(1, 1, size, size)
    for kind, reduce, empty in (("max", np.max, LOWEST), ("avg", np.mean, 0)):
        right = rounded_up(data, *case, reduce)
        full, valid = (run(pooled(*case, kind, convention), data)[0, 0] for convention in ("full", "valid"))
        print("seen: size %d, kernel %d, stride %d, padding %d, %s:" % (*case, kind), end=" ")
        print("right %dx%d from %g," % (*right.shape, right.min()), end=" ")
        print("'full' %dx%d from %g, 'valid' %dx%d" % (*full.shape, full.min(), *valid.shape))
        inner = full[: len(right), : len(right)]
        assert np.allclose(inner, right), "the windows inside have changed"
        if not behind:
            assert full.shape == right.shape, "another form by now"
            continue
        assert full.shape == (len(right) + 1, len(right) + 1), "the last window is left out by now"
        assert (full[-1] == empty).all() and (full[:, -1] == empty).all(), "the last window has other values by now"
        assert valid.shape == right.shape and np.allclose(valid, right), "'valid' is no longer right"

print("expected: what reads the pooling stays finite")
case = (5, 2, 2, 1)
data = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
for convention in ("full", "valid"):
    symbol = mx.sym.Convolution(
        pooled(*case, "max", convention), kernel=(3, 3), pad=(1, 1), num_filter=1, no_bias=True, name="conv"
    )
    output = run(symbol, data, conv_weight=np.full((1, 1, 3, 3), 2))
    counts = (np.isinf(output).sum(), output.size)
    print("seen: max pooling '%s', then a convolution: %d of %d values are infinite" % (convention, *counts))
    assert np.isinf(output).any() == (convention == "full"), "the convolution behind has changed"

print("expected: the largest of NaN and NaN is NaN")
nothing = mx.nd.array(np.full((1, 1, 2, 2), np.nan))
window = mx.nd.Pooling(nothing, kernel=(2, 2), pool_type="max").asscalar()
whole = mx.nd.max(nothing).asscalar()
print("seen: max pooling of NaN: %g, mx.nd.max of the same: %g" % (window, whole))
assert window == LOWEST and np.isnan(whole), "the maximum of NaN has changed"
print("as documented: 'full' pools windows with nothing in them, and their maximum is the lowest float")
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
