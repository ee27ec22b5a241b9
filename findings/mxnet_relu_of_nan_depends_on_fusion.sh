#!/usr/bin/env bash
# Whether MXNet 1.9.1 keeps a NaN in front of a ReLU depends on how the ReLU is written, on whether it is fused with
# the layer before it, and on the number of channels. Activation(act_type='relu') of float32 makes 0 of NaN; relu,
# maximum(x, 0) and clip(x, 0, 6) keep it. A Symbol that is bound for inference is fused by default, and then:
# an Activation keeps the NaN if oneDNN runs the convolution as a product of matrices (18 channels below), and makes it
# 0 in all other kernels (16 channels); a clip, which keeps NaN when it is alone, makes it 0 in every kernel.
# Who is hit: checkpoints with NaN in the weights, bias or statistics of channels that a ReLU makes 0. One file gives
# finite numbers in one way of running it and nothing but NaN in another: in Gluon, which does not fuse, and in Module,
# which does; or before and after somebody prunes channels from 24 to 18.
# Instead: look for NaN in the parameters, not in the outputs, and make such channels 0 in the file;
# MXNET_SUBGRAPH_BACKEND=NONE runs a Symbol as Gluon does.
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

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
RELUS = {
    "Activation": lambda api, x: api.Activation(x, act_type="relu"),
    "relu": lambda api, x: api.relu(x),
    "maximum": lambda api, x: api.maximum(x, 0),
    "clip": lambda api, x: api.clip(x, 0, 6),
}
WIDTHS = (16, 18)
# Percentage of NaN in the output: without fusion, with fusion for each width.
ALONE = {"Activation": 0, "relu": 100, "maximum": 100, "clip": 100}
FUSED = {16: {**ALONE, "clip": 0}, 18: {**ALONE, "clip": 0, "Activation": 100}}


def worker():
    """Run convolution, ReLU, convolution with a NaN in the first bias; print the share of NaN in the output."""
    for width in WIDTHS:
        for name, relu in RELUS.items():
            first = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), num_filter=width, name="first")
            symbol = mx.sym.Convolution(relu(mx.sym, first), kernel=(1, 1), num_filter=8, no_bias=True, name="last")
            rng = np.random.RandomState(0)
            shapes = symbol.infer_shape(data=(1, 3, 16, 16))[0]
            values = {key: rng.randn(*shape) for key, shape in zip(symbol.list_arguments(), shapes)}
            values["first_bias"][0] = np.nan
            arrays = {key: mx.nd.array(value) for key, value in values.items()}
            output = symbol.bind(mx.cpu(), arrays, grad_req="null").forward(is_train=False)[0].asnumpy()
            print("result:", round(100 * np.isnan(output).mean()), flush=True)


def shares(fused):
    """Return the share of NaN and the kernel of the first convolution for each network."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MXNET_")}
    environment.update(DNNL_VERBOSE="1", **({} if fused else {"MXNET_SUBGRAPH_BACKEND": "NONE"}))
    command = [sys.executable, __file__, "worker"]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found, kernels = [], []
    for line in printed.splitlines():
        if ",exec," in line and ",convolution," in line:
            kernels.append(line.split(",")[4])
        if line.startswith("result:"):
            found.append((int(line.split()[1]), kernels[0]))
            kernels = []
    return dict(zip([(width, name) for width in WIDTHS for name in RELUS], found))


def main():
    lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
    flags = {name.strip(): value.strip() for name, value in lines.items()}
    print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
    print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags["flags"].split()))
    print("expected: the ReLU of NaN is NaN, as it is for NumPy, or it is 0; the same however it is written")
    for name, relu in RELUS.items():
        value = relu(mx.nd, mx.nd.array([np.nan])).asscalar()
        print("seen: %-10s of one NaN, float32: %s" % (name, value))
        assert np.isnan(value) == (ALONE[name] == 100), name + " has changed"
    value = RELUS["Activation"](mx.nd, mx.nd.array([np.nan], dtype="float64")).asscalar()
    print("seen: Activation of one NaN, float64:", value)
    assert np.isnan(value), "Activation of float64 has changed"
    print("expected: fusion changes the speed of a network, not whether its output is NaN")
    apart, fused = shares(False), shares(True)
    for (width, name), (share, kernel) in fused.items():
        alone = apart[width, name][0]
        print("seen: %d channels, %-10s" % (width, name), end=" ")
        print("%3d %% of the output is NaN without fusion, %3d %% with it, kernel %s" % (alone, share, kernel))
        assert alone == ALONE[name], "the network without fusion has changed"
        assert share == FUSED[width][name], "the fused network has changed"
        assert ("gemm" in kernel) == (width == 18), "oneDNN takes other kernels by now"
    print("as documented: fusion and the number of channels decide whether NaN survives a ReLU")


main() if len(sys.argv) == 1 else worker()
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py" 2>"$work/stderr" || { tail -5 "$work/stderr" >&2; exit 1; }
