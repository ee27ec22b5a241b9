#!/usr/bin/env bash
# The int8 LSTM of MXNet 1.9.1 runs on CPUs with AVX2 or AVX-512, but on those that have AVX-512 with VNNI its first
# forward pass raises MXNetError ("could not create a primitive descriptor for a reorder primitive"): a newer CPU, an
# operator fewer. With VNNI oneDNN 2.4.4 chooses another LSTM, whose weights it cannot bring from MXNet's order.
# The ways back differ: a cap of AVX512_CORE or AVX2 runs, but its sums saturate (12 dB lost below); a cap of
# AVX2_VNNI, on CPUs that have AVX-VNNI too, runs and is accurate. ONEDNN_MAX_CPU_ISA, the name in oneDNN's current
# reference, does nothing in this version; DNNL_MAX_CPU_ISA does.
# Who is hit: networks with an RNN operator of mode 'lstm' in quantize_model_mkldnn. The tool succeeds on any CPU.
# Instead: exclude it (excluded_op_names=['RNN']), or set DNNL_MAX_CPU_ISA=AVX2_VNNI for that process.
set -euo pipefail

[ "$(uname -m)" = x86_64 ] || { echo "not applicable on this CPU: $(uname -m), not x86-64"; exit 0; }
if ! grep -qw avx512_vnni /proc/cpuinfo; then
    echo "not applicable on this CPU: it has no avx512_vnni"
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

STEPS, BATCH, INPUTS, UNITS = 8, 4, 16, 32
FAILED = "could not create a primitive descriptor for a reorder primitive"


def run(symbol, params, data):
    executor = symbol.bind(mx.cpu(), {**params, "data": mx.nd.array(data)}, grad_req="null")
    return executor.forward(is_train=False)[0].asnumpy()


def worker():
    """Print what the saved int8 network does at the level of this process."""
    symbol, params, data = mx.sym.load("lstm.json"), mx.nd.load("lstm.params"), np.load("data.npy")
    mx.nd.Convolution(mx.nd.ones((1, 8, 4, 4)), mx.nd.ones((8, 8, 3, 3)), kernel=(3, 3), num_filter=8, no_bias=True)
    mx.nd.waitall()
    try:
        output, exact = run(symbol, params, data), np.load("exact.npy").astype(float)
    except mx.MXNetError as error:
        return print("result: MXNetError:", str(error).strip().splitlines()[-1].replace("MXNetError: ", ""))
    print("result: %.1f dB" % (10 * np.log10((exact**2).sum() / ((exact - output) ** 2).sum())))


def save():
    state = mx.sym.zeros((1, BATCH, UNITS))
    symbol = mx.sym.RNN(
        mx.sym.var("data"),
        mx.sym.var("lstm_parameters"),
        state,
        state,
        state_size=UNITS,
        num_layers=1,
        mode="lstm",
        name="lstm",
    )
    rng = np.random.RandomState(0)
    params = {"lstm_parameters": mx.nd.array(rng.uniform(-0.2, 0.2, 4 * UNITS * (INPUTS + UNITS + 2)))}
    data = rng.randn(STEPS, BATCH, INPUTS).astype(np.float32)
    batches = mx.io.NDArrayIter(data, batch_size=STEPS)
    int8, int8_params, _ = quantize_model_mkldnn(symbol, params, {}, calib_mode="naive", calib_data=batches)
    assert "_contrib_quantized_rnn" in int8.tojson(), "the tool no longer quantizes an LSTM"
    int8.save("lstm.json")
    mx.nd.save("lstm.params", int8_params)
    np.save("data.npy", data)
    np.save("exact.npy", run(symbol, params, data))


def result(**variables):
    """Return oneDNN's name of the level and what the network did there."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("MAX_CPU_ISA")}
    environment.update(DNNL_VERBOSE="1", **variables)
    command = [sys.executable, __file__, "worker"]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    level = next(line.split("isa:")[1] for line in printed.splitlines() if "cpu,isa:" in line)
    seen = next(line.split("result: ")[1] for line in printed.splitlines() if line.startswith("result: "))
    print("seen: %-35s %-32s on %s" % (" ".join("=".join(item) for item in variables.items()) or "no cap", seen, level))
    return level, seen


def main():
    print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    print("CPU:", *cpu[:1])
    save()
    print("expected: what runs with AVX2 runs with everything newer, with the same error, and either name is a cap")
    level, seen = result()
    assert FAILED in seen, "it runs with VNNI by now"
    assert result(ONEDNN_MAX_CPU_ISA="AVX2") == (level, seen), "ONEDNN_MAX_CPU_ISA does something by now"
    assert FAILED in result(DNNL_MAX_CPU_ISA="AVX512_CORE_VNNI")[1], "it runs with AVX512_CORE_VNNI by now"
    plain = [float(result(DNNL_MAX_CPU_ISA=name)[1].split()[0]) for name in ("AVX512_CORE", "AVX2")]
    assert max(plain) < 20, "it no longer saturates without VNNI"
    level, seen = result(DNNL_MAX_CPU_ISA="AVX2_VNNI")
    if "DL Boost" in level:
        assert float(seen.split()[0]) > max(plain) + 6, "AVX2_VNNI is no better than AVX2"
    print("as documented: no int8 LSTM with AVX-512 and VNNI")


main() if len(sys.argv) == 1 else worker()
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
