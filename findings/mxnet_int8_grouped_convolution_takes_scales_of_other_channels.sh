#!/usr/bin/env bash
# In a grouped int8 convolution of MXNet 1.9.1 each output channel is quantized with the weight scale of another
# channel: channel o of group g with that of channel number g, and is read back with its own. Its result is multiplied
# by max|w_o| / max|w_g|, or clipped where that is above 1. Such a layer is left with 0 to 10 dB, without a warning.
# One group (a plain convolution) and one channel per group (depthwise) are right, so MobileNets hide it.
# Who is hit: ResNeXt, ShuffleNet, RegNet, and depthwise layers with several outputs per channel, quantized by
# quantize_model_mkldnn or quantize_net_v2, on every CPU level.
# Instead: exclude these layers (excluded_sym_names), or give all channels of a layer the same largest weight, as
# below.
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
import platform
import warnings

warnings.simplefilter("ignore")
import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags.get("flags", "").split()))

CHANNELS = 64


def largest(weight):
    return np.abs(weight).reshape(len(weight), -1).max(axis=1)


def outputs(groups, weight):
    """Return what the convolution computes in float32 and in int8, by channel."""
    data = np.random.RandomState(1).uniform(0, 1, (1, CHANNELS, 14, 14)).astype(np.float32)
    symbol = mx.sym.Convolution(
        mx.sym.var("data"), kernel=(3, 3), num_filter=CHANNELS, num_group=groups, no_bias=True, name="conv"
    )
    params = {"conv_weight": mx.nd.array(weight)}
    # Calibration with data twice as large: codes up to 127, for which no sum saturates on CPUs without VNNI.
    batches = mx.io.NDArrayIter(2 * data, batch_size=1)
    int8, int8_params, _ = quantize_model_mkldnn(
        symbol, params, {}, calib_mode="naive", calib_data=batches, quantized_dtype="auto"
    )
    for net, values in ((symbol, params), (int8, int8_params)):
        executor = net.bind(mx.cpu(), {**values, "data": mx.nd.array(data)}, grad_req="null")
        yield executor.forward(is_train=False)[0].asnumpy().astype(float)[0].reshape(CHANNELS, -1)


print("expected: each channel has a scale of its own, so the number of groups changes little (25 dB or more)")
rng = np.random.RandomState(0)
for groups in (1, 2, 4, 16, 32, CHANNELS):
    weight = rng.randn(CHANNELS, CHANNELS // groups, 3, 3).astype(np.float32)
    weight *= np.exp2(rng.uniform(-1.5, 1.5, (CHANNELS, 1, 1, 1))).astype(np.float32)
    seen = {}
    for kind, weights in (("own", weight), ("equal", weight / largest(weight).reshape(-1, 1, 1, 1))):
        exact, int8 = outputs(groups, weights)
        seen[kind] = 10 * np.log10((exact**2).sum() / ((exact - int8) ** 2).sum())
        if kind == "own":
            gains = (exact * int8).sum(axis=1) / (exact**2).sum(axis=1)
            group = np.arange(CHANNELS) * groups // CHANNELS
            ratios = largest(weight) / largest(weight)[group]
    low, high = np.sort(gains)[[0, -1]]
    print("seen: %2d groups: %5.1f dB, channels times %.2f to %.2f;" % (groups, seen["own"], low, high), end=" ")
    print("with equal largest weights %5.1f dB" % seen["equal"])
    assert seen["equal"] > 25, "equal largest weights no longer help"
    if groups in (1, CHANNELS):
        assert seen["own"] > 25, "wrong without groups, too"
        continue
    assert seen["own"] < 10, "groups are right by now"
    smaller = (ratios < 0.95) & (ratios > 0.3)
    off = np.abs(gains / ratios - 1)[smaller]
    print("      channels times max|w_o| / max|w_g| where that is 0.3 to 0.95: within %.1f %%" % (100 * off.max()))
    assert off.max() < 0.15, "not the scale of channel g"
print("as documented: channels of group g are quantized with the scale of channel number g")
PYTHON
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
