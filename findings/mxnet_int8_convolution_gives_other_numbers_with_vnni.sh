#!/usr/bin/env bash
# One saved int8 network of MXNet 1.9.1 gives other numbers on CPUs with VNNI than on those without where a convolution
# reads signed data, even though nothing saturates. Without VNNI oneDNN 2.4.4 stores half of each weight: 64 codes
# instead of 127 on each side, so every weight is rounded more coarsely, and a channel's largest weight is worth 127
# steps on one side and 128 on the other, whatever grid the weights were trained on. A box filter differs by 0.8 %.
# Who is hit: whoever validates on one machine and deploys on another (Intel before Cascade Lake and Ice Lake, and AMD
# before Zen 4, have no VNNI), or compares checksums of outputs.
# Instead: validate at each level (DNNL_MAX_CPU_ISA=AVX2 and unset). For the same bits everywhere: unsigned data (a
# ReLU in front) that use codes up to 127 only, as below by calibration with data twice as large.
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
import warnings

warnings.simplefilter("ignore")
import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn

LEVELS = ("AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI", "")
SHAPE = (4, 16, 12, 12)
SIGNED, BOX, UNSIGNED = "signed data, random weights", "signed data, box filter", "unsigned data up to code 127"


def run(symbol, params, data):
    executor = symbol.bind(mx.cpu(), {**params, "data": mx.nd.array(data)}, grad_req="null")
    return executor.forward(is_train=False)[0].asnumpy()


def decibels(reference, values):
    return 10 * np.log10((reference.astype(float) ** 2).sum() / ((reference.astype(float) - values) ** 2).sum())


def worker():
    """Run the saved networks at the level of this process and save their outputs."""
    outputs = {}
    for index, name in enumerate((SIGNED, BOX, UNSIGNED)):
        symbol, params = mx.sym.load("%d.json" % index), mx.nd.load("%d.params" % index)
        outputs[str(index)] = run(symbol, params, np.load("%d.npy" % index))
    np.savez("out.npz", **outputs)


def save(index, data, weight, calibration):
    symbol = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), num_filter=len(weight), no_bias=True, name="conv")
    params = {"conv_weight": mx.nd.array(weight)}
    batches = mx.io.NDArrayIter(calibration, batch_size=len(calibration))
    int8, int8_params, _ = quantize_model_mkldnn(
        symbol, params, {}, calib_mode="naive", calib_data=batches, quantized_dtype="auto"
    )
    int8.save("%d.json" % index)
    mx.nd.save("%d.params" % index, int8_params)
    np.save("%d.npy" % index, data)
    return run(symbol, params, data)


def main():
    print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    print("CPU:", *cpu[:1])
    rng = np.random.RandomState(0)
    data, weight = rng.uniform(-1, 1, SHAPE).astype(np.float32), rng.randn(32, 16, 3, 3).astype(np.float32)
    exact = {
        SIGNED: save(0, data, weight, data),
        BOX: save(1, data, np.full((1, 16, 3, 3), 1 / 144, np.float32), data),
        UNSIGNED: save(2, np.abs(data), weight, 2 * np.abs(data)),
    }
    outputs, with_vnni = {}, {}
    for level in LEVELS:
        environment = {name: value for name, value in os.environ.items() if not name.endswith("MAX_CPU_ISA")}
        environment.update(DNNL_VERBOSE="1", **({"DNNL_MAX_CPU_ISA": level} if level else {}))
        command = [sys.executable, __file__, "worker"]
        printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        label = next(line.split("isa:")[1] for line in printed.splitlines() if "cpu,isa:" in line)
        if label in with_vnni:
            continue
        with_vnni[label] = "DL Boost" in label
        with np.load("out.npz") as arrays:
            outputs[label] = {name: arrays[str(index)] for index, name in enumerate(exact)}
        print("level:", label, "(DNNL_MAX_CPU_ISA=%s)" % level if level else "(no cap)")
    if len(set(with_vnni.values())) < 2:
        return print("not applicable on this CPU: it has no VNNI, so there is nothing to compare")
    print("expected: the same bits at every level, since no int8 sum overflows, and the same error against float32")
    first = {side: next(label for label in outputs if with_vnni[label] == side) for side in (True, False)}
    for name, reference in exact.items():
        for label in outputs:
            same = np.array_equal(outputs[label][name], outputs[first[with_vnni[label]]][name])
            assert same, "levels of one side differ"
        plain, vnni = outputs[first[False]][name], outputs[first[True]][name]
        different = (plain != vnni).mean()
        gains = [(reference * output).sum() / (reference**2).sum() for output in (plain, vnni)]
        print("seen: %-29s %4.1f %% of the outputs differ;" % (name + ":", 100 * different), end=" ")
        print("without VNNI %.1f dB, times %.4f;" % (decibels(reference, plain), gains[0]), end=" ")
        print("with VNNI %.1f dB, times %.4f" % (decibels(reference, vnni), gains[1]))
        if name == UNSIGNED:
            assert different == 0, "unsigned data differ by now"
        elif name == SIGNED:
            assert different > 0.1, "signed data no longer differ"
            assert decibels(reference, plain) + 1 < decibels(reference, vnni), "halving costs nothing any more"
        else:
            assert abs(gains[0] / gains[1] - 128 / 127) < 2e-3, "the largest weight is the same by now"
    print("as documented: numbers of int8 convolutions on signed data depend on VNNI")


main() if len(sys.argv) == 1 else worker()
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
