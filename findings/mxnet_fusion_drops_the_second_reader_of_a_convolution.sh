#!/usr/bin/env bash
# A convolution that is read by a BatchNorm, ReLU or clip and by an addition too: MXNet 1.9.1 on CPUs fuses it with the
# first and hands the fused result to the addition as well, as if that read the ReLU. No error: the float32 network just
# returns other numbers. It needs elemwise_add (+); with broadcast_add all is right. The same happens where the
# convolution itself and the ReLU behind it are both outputs, whatever else reads them.
# Who is hit: a Symbol or Module for inference, hybridize(backend='MKLDNN'), and int8 networks of
# quantize_model_mkldnn, of residual networks with the activation in front (ResNet V2) whose first block has no
# convolution in its shortcut, such as those for CIFAR; and whoever reads layers by a Group of internals. Training and
# Gluon without a backend are right, so the loss is seen when a trained network is deployed.
# Instead: MXNET_DISABLE_MKLDNN_FUSE_CONV_SUM=1 before MXNet is imported, or broadcast_add, for all but the outputs;
# MXNET_SUBGRAPH_BACKEND=NONE for all that is float32.
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
    print("expected: fusion changes nothing but rounding (above 100 dB), and int8 little (above 25 dB)")

rng = np.random.RandomState(0)
values = {"first_weight": rng.randn(8, 8, 3, 3) / 8, "second_weight": rng.randn(8, 8, 3, 3) / 8}
values.update(norm_gamma=rng.uniform(0.5, 1.5, 8), norm_beta=rng.randn(8))
values.update(norm_moving_mean=rng.randn(8), norm_moving_var=rng.uniform(0.5, 1.5, 8), data=rng.randn(4, 8, 12, 12))
arrays = {name: mx.nd.array(value) for name, value in values.items()}


def convolution(data, name):
    return mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=8, no_bias=True, name=name)


def run(symbol, params=arrays, grad_req="null"):
    args, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    args, states = ({name: params.get(name, arrays.get(name)) for name in names} for names in (args, states))
    zeros = {name: value.zeros_like() for name, value in args.items()} if grad_req == "write" else None
    executor = symbol.bind(mx.cpu(), args, args_grad=zeros, aux_states=states, grad_req=grad_req)
    return np.concatenate([output.asnumpy().astype(float) for output in executor.forward(is_train=False)])


def int8(symbol):
    params = {name: arrays[name] for name in symbol.list_arguments() if name != "data"}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    batches = mx.io.NDArrayIter(values["data"], batch_size=4)
    made = quantize_model_mkldnn(symbol, params, states, calib_mode="naive", calib_data=batches, quantized_dtype="auto")
    return run(made[0], {**made[1], **made[2]})


first = convolution(mx.sym.var("data"), "first")
relu = mx.sym.Activation(first, act_type="relu", name="relu")
normed = mx.sym.Activation(mx.sym.BatchNorm(first, name="norm", fix_gamma=False), act_type="relu")
# Network, how it is run, and how many of the settings below, from the first, give other numbers.
CASES = {
    "conv2(ReLU(conv1)) + conv1": (convolution(relu, "second") + first, run, 1),
    "the same in int8": (convolution(relu, "second") + first, int8, 2),
    "conv2(ReLU(BatchNorm(conv1))) + conv1": (convolution(normed, "second") + first, run, 1),
    "ReLU(conv1) + conv1": (relu + first, run, 1),
    "outputs ReLU(conv1) and conv1": (mx.sym.Group([relu, first]), run, 1),
    "broadcast_add(conv2(ReLU(conv1)), conv1)": (mx.sym.broadcast_add(convolution(relu, "second"), first), run, 0),
    "concat(ReLU(conv1), conv1)": (mx.sym.concat(relu, first), run, 0),
}
SETTINGS = ({}, {"MXNET_SUBGRAPH_BACKEND": "NONE"}, {"MXNET_DISABLE_MKLDNN_FUSE_CONV_SUM": "1"})
index = SETTINGS.index(setting)
print("with", *(sys.argv[1:] or ["the default settings"]))
for name, (symbol, how, wrong) in CASES.items():
    # What is bound for training is not fused.
    exact = run(symbol, grad_req="write")
    error = 10 * np.log10((exact**2).sum() / max(((exact - how(symbol)) ** 2).sum(), 1e-20))
    print("seen: %-42s %5.1f dB" % (name, error))
    wrong = wrong > index or (index == 2 and name.startswith("outputs"))
    assert error < 15 if wrong else error > (25 if how is int8 else 100), "no longer so: " + name
PYTHON
cd "$work"
for setting in "" MXNET_SUBGRAPH_BACKEND=NONE MXNET_DISABLE_MKLDNN_FUSE_CONV_SUM=1; do
    "$work/venv/bin/python" "$work/run.py" ${setting:+"$setting"} 2>"$work/stderr" ||
        { tail -5 "$work/stderr" >&2; exit 1; }
done
echo "as documented: fusion hands the result of the ReLU to all that reads the convolution"
