#!/usr/bin/env bash
# A Symbol that adds the output of a convolution to itself (y + y, elemwise_add) does not run in MXNet 1.9.1 on a CPU:
# binding it for inference raises 'Shape inconsistent', though infer_shape accepts it. The default fusion with oneDNN
# takes the addition into the convolution and expects the other summand as one more input, where there is none. With a
# BatchNorm between the two it raises '!is_none()'. No message says that the sum is at fault.
# Who is hit: a Symbol or Module for inference, hybridize(backend='MKLDNN') and quantize_model_mkldnn, where a doubling
# is written as a sum, as imported and generated networks have it, or in a branch y + Dropout(y), which is y + y once
# it is trained. Training, and Gluon without a backend, are not.
# Instead: 2 * y, broadcast_add(y, y) or add_n(y, y); or MXNET_DISABLE_MKLDNN_FUSE_CONV_SUM=1 before MXNet is imported.
# MXNET_SUBGRAPH_BACKEND=NONE helps the first of the three only.
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
import sys
import warnings

warnings.simplefilter("ignore")
# MXNet reads them when it is imported.
setting = dict(argument.split("=") for argument in sys.argv[1:])
for name in ("MXNET_SUBGRAPH_BACKEND", "MXNET_DISABLE_MKLDNN_FUSE_CONV_SUM"):
    os.environ.pop(name, None)
os.environ.update(setting)
import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
if not setting:
    print("Python", platform.python_version(), "NumPy", np.__version__, "MXNet", mx.__version__)
    print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags["flags"].split()))
    print("expected: y + y is 2 * y in each of these ways, whatever is set")

data = mx.sym.var("data")
y = mx.sym.Convolution(data, kernel=(1, 1), num_filter=2, no_bias=True, name="conv")
z = mx.sym.BatchNorm(y, name="norm", eps=1e-3)
values = {"conv_weight": np.random.RandomState(0).randn(2, 3, 1, 1), "data": np.random.RandomState(1).randn(2, 3, 4, 4)}
right = 2 * np.einsum("oi,bihw->bohw", values["conv_weight"][:, :, 0, 0], values["data"])
# The BatchNorm changes nothing.
values.update(norm_gamma=np.ones(2), norm_beta=np.zeros(2))
values.update(norm_moving_mean=np.zeros(2), norm_moving_var=np.full(2, 1 - 1e-3))
arrays = {name: mx.nd.array(value) for name, value in values.items()}


def bound(symbol):
    args = {name: arrays[name] for name in symbol.list_arguments()}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    return symbol.bind(mx.cpu(), args, aux_states=states, grad_req="null").forward(is_train=False)[0].asnumpy()


def gluon(**options):
    block = mx.gluon.SymbolBlock(y + y, [data])
    block.collect_params()["conv_weight"]._load_init(arrays["conv_weight"], mx.cpu())
    block.hybridize(**options)
    return block(arrays["data"]).asnumpy()


def int8():
    params, batches = {"conv_weight": arrays["conv_weight"]}, mx.io.NDArrayIter(values["data"], batch_size=2)
    symbol, params, _ = quantize_model_mkldnn(y + y, params, {}, calib_mode="naive", calib_data=batches)
    output = symbol.bind(mx.cpu(), {**params, "data": arrays["data"]}, grad_req="null").forward(is_train=False)[0]
    # Rounding to int8 is no matter here.
    return np.where(abs(output.asnumpy() - right) < 0.1 * abs(right).max(), right, np.nan)


# Ways to compute 2 * y, and the settings in which MXNet refuses.
NONE, BOUND, ALL = (), ({},), ({}, {"MXNET_SUBGRAPH_BACKEND": "NONE"})
WAYS = {
    "y + y": (lambda: bound(y + y), BOUND),
    "y + Dropout(y)": (lambda: bound(y + mx.sym.Dropout(y)), BOUND),
    "z + z, z = BatchNorm(y)": (lambda: bound(z + z), BOUND),
    "y + y, hybridize(backend='MKLDNN')": (lambda: gluon(backend="MKLDNN"), ALL),
    "y + y, quantize_model_mkldnn": (int8, ALL),
    "y + y, hybridize()": (gluon, NONE),
    "2 * y": (lambda: bound(2 * y), NONE),
    "broadcast_add(y, y)": (lambda: bound(mx.sym.broadcast_add(y, y)), NONE),
    "add_n(y, y)": (lambda: bound(mx.sym.add_n(y, y)), NONE),
}
print("with", *(sys.argv[1:] or ["the default settings"]))
for way, (compute, refused) in WAYS.items():
    try:
        verdict = "right" if np.allclose(compute(), right, atol=1e-4) else "wrong"
    except RuntimeError as error:
        said = [line for line in str(error).splitlines() if line.startswith("MXNetError: ")][-1]
        verdict = "raises " + said.split("conv: ")[-1][:48]
    print("seen: %-34s %s" % (way, verdict))
    assert verdict.split()[0] == ("raises" if setting in refused else "right"), "no longer so: " + way
PYTHON
cd "$work"
for setting in "" MXNET_SUBGRAPH_BACKEND=NONE MXNET_DISABLE_MKLDNN_FUSE_CONV_SUM=1; do
    "$work/venv/bin/python" "$work/run.py" ${setting:+"$setting"} 2>"$work/stderr" ||
        { tail -5 "$work/stderr" >&2; exit 1; }
done
echo "as documented: MXNet refuses the sum of a convolution with itself"
