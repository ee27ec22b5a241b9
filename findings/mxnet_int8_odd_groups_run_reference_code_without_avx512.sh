#!/usr/bin/env bash
# On CPUs without AVX-512 an int8 convolution in groups of MXNet 1.9.1 is 10 to 60 times slower than the same layer in
# float32 unless inputs and outputs of a group are both multiples of 4, or it is depthwise, 2D, with one output per
# channel. For all others, among them every 3D depthwise layer, oneDNN 2.4.4 silently runs its plain reference loops
# (DNNL_VERBOSE=1 names 'ref_int8:any'). AVX2 with VNNI does not help.
# With AVX-512 the same layers become products of matrices: fast, but without VNNI they saturate there, while the slow
# loops are exact, so the newer CPU has the larger error.
# Who is hit: video networks with 3D depthwise layers (X3D, CSN), depthwise layers with several outputs per channel,
# and groups of odd size, on desktop CPUs and AMD before Zen 4.
# Instead: leave these layers in float32 (excluded_sym_names); look for 'ref' in DNNL_VERBOSE=1 before you time a
# network.
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
import os
import platform
import subprocess
import sys
import time
import warnings

warnings.simplefilter("ignore")
import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn

LEVELS = ("AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
# Shape of the data, kernel, output channels, groups.
LAYERS = {
    "depthwise, 2D": ((1, 64, 28, 28), (3, 3), 64, 64),
    "2 groups of 8 channels": ((1, 16, 56, 56), (3, 3), 16, 2),
    "depthwise, 3D": ((1, 32, 8, 28, 28), (3, 3, 3), 32, 32),
    "depthwise, 2 outputs per channel": ((1, 64, 28, 28), (3, 3), 128, 64),
    "2 groups of 6 channels": ((1, 12, 56, 56), (3, 3), 12, 2),
}
ODD = list(LAYERS)[2:]


def network(name):
    shape, kernel, outputs, groups = LAYERS[name]
    rng = np.random.RandomState(0)
    weight = rng.uniform(0.4, 0.9, (outputs, shape[1] // groups, *kernel)).astype(np.float32)
    # All channels have the same largest weight, hence the same scale.
    weight.reshape(outputs, -1)[:, 0] = 1
    symbol = mx.sym.Convolution(
        mx.sym.var("data"), kernel=kernel, num_filter=outputs, num_group=groups, no_bias=True, name="conv"
    )
    return symbol, {"conv_weight": mx.nd.array(weight)}, rng.uniform(0, 1, shape).astype(np.float32)


def worker():
    """Run each layer in float32 and in int8 at the level of this process."""
    for name in LAYERS:
        symbol, params, data = network(name)
        batches = mx.io.NDArrayIter(data, batch_size=1)
        int8, int8_params, _ = quantize_model_mkldnn(
            symbol, params, {}, calib_mode="naive", calib_data=batches, quantized_dtype="auto"
        )
        outputs, seconds = [], []
        for net, values in ((symbol, params), (int8, int8_params)):
            executor = net.bind(mx.cpu(), {**values, "data": mx.nd.array(data)}, grad_req="null")
            outputs.append(executor.forward(is_train=False)[0].asnumpy().astype(float))
            times = []
            for _ in range(9):
                start = time.perf_counter()
                executor.forward(is_train=False)[0].wait_to_read()
                times.append(time.perf_counter() - start)
            seconds.append(min(times))
        exact, output = outputs
        error = 10 * np.log10((exact**2).sum() / ((exact - output) ** 2).sum())
        print("result:", error, *seconds, flush=True)


def main():
    print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    print("CPU:", *cpu[:1])
    print("expected: int8 is faster than float32 or about as fast, and equally exact at every level")
    levels = set()
    for level in LEVELS:
        environment = dict(os.environ, DNNL_VERBOSE="1", DNNL_MAX_CPU_ISA=level, OMP_NUM_THREADS="1")
        command = [sys.executable, __file__, "worker"]
        printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        lines = printed.splitlines()
        label = next(line.split("isa:")[1] for line in lines if "cpu,isa:" in line)
        if label in levels:
            continue
        levels.add(label)
        print("level:", label)
        names, kernel = iter(LAYERS), None
        for line in lines:
            if ",convolution," in line:
                kernel = line.split(",")[4]
            if not line.startswith("result:"):
                continue
            name, (error, float32, int8) = next(names), map(float, line.split()[1:])
            print("seen: %-33s int8 takes %4.1f times as long as float32," % (name, int8 / float32), end=" ")
            print("%.1f dB, kernel %s" % (error, kernel))
            if name not in ODD:
                assert "ref" not in kernel, "there is no kernel for this layer by now"
            elif "AVX-512" in label:
                assert "gemm" in kernel, "no product of matrices any more"
                assert (error > 35) == ("DL Boost" in label), "saturation is not where it was"
            else:
                assert "ref" in kernel and error > 35, "there is a kernel for this layer by now"
                assert int8 / float32 > 4, "the reference code is fast by now"
    print("as documented: without AVX-512 oneDNN's reference code runs these int8 layers")


main() if len(sys.argv) == 1 else worker()
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
