#!/usr/bin/env bash
# An average pooling that counts its padding (AveragePool with count_include_pad=1) between quantized tensors:
# OpenVINO's CPU plugin pads with code 0 instead of the zero point. With uint8 and zero point 128 the border is filled
# with the most negative value of the range: averages of positive numbers come out negative. No warning; ONNX Runtime
# is right.
# A Pad node of its own in front of the pooling ends in the same way, since OpenVINO joins the two.
# Who is hit: QDQ files with a zero point other than 0, of networks that pad average pooling and count the padding,
# which is the default of the pooling layers of PyTorch and of MXNet's Gluon (Inception v3 among them).
# Instead: int8 with zero point 0 (the same grid as uint8 with 128), or no QuantizeLinear in front of such a pooling,
# or the Pad in front of the QuantizeLinear; the three are right below.
set -euo pipefail

[ "$(uname -m)" = x86_64 ] || { echo "not applicable on this CPU: $(uname -m), not x86-64"; exit 0; }
if ! grep -qw avx2 /proc/cpuinfo; then
    echo "not applicable on this CPU: it has no avx2"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=""
probe='import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
for candidate in python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c "$probe" 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "needs Python 3.11 to 3.13" >&2; exit 2; }
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    numpy==2.2.6 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1

cat >"$work/run.py" <<'PYTHON'
import platform
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
print("Python", platform.python_version(), "NumPy", np.__version__, "ONNX", onnx.__version__)
print("ONNX Runtime", onnxruntime.__version__, "OpenVINO", openvino.__version__)
print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags.get("flags", "").split()))
core = openvino.Core()
if "INT8" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
    sys.exit(print("not applicable on this CPU: OpenVINO runs no int8 here"))

SHAPE = (1, 4, 6, 6)
COUNTED, NOT_COUNTED = "padding counts", "padding does not count"
BEHIND, IN_FRONT, FLOAT = "Pad behind DequantizeLinear", "Pad before QuantizeLinear", "padding counts, data in float"
data = np.random.RandomState(0).uniform(1, 2, SHAPE).astype(np.float32)


def network(dtype, zero_point, form):
    step = np.float32(2.2 / 255 if dtype is np.uint8 and zero_point == 0 or zero_point == -128 else 2.2 / 127)
    constants = {"step": step, "zero": np.array(zero_point, dtype)}
    nodes = []

    def add(op_type, *inputs, **attributes):
        nodes.append(helper.make_node(op_type, inputs, ["t%d" % len(nodes)], **attributes))
        return nodes[-1].output[0]

    def quantized(value):
        return add("DequantizeLinear", add("QuantizeLinear", value, "step", "zero"), "step", "zero")

    def padded(value):
        constants["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
        return add("Pad", value, "pads")

    pooling = {"kernel_shape": [3, 3]}
    if "Pad" not in form:
        pooling.update(pads=[1, 1, 1, 1], count_include_pad=int(form != NOT_COUNTED))
    value = {BEHIND: lambda: padded(quantized("x")), IN_FRONT: lambda: quantized(padded("x")), FLOAT: lambda: "x"}
    value = value.get(form, lambda: quantized("x"))()
    quantized(add("AveragePool", value, **pooling))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, SHAPE)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(), step


def mean(values, count):
    padded = np.pad(values.astype(float), [(0, 0), (0, 0), (1, 1), (1, 1)])
    inside = np.pad(np.ones(values.shape), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = [(i, j) for i in range(3) for j in range(3)]
    cut = lambda array: sum(array[:, :, i : i + SHAPE[2], j : j + SHAPE[3]] for i, j in windows)
    return cut(padded) / (9 if count else cut(inside))


print("expected: averages between 0.4 and 2, within 2 steps of the exact ones, whatever the zero point is")
cases = [
    (np.uint8, 128, COUNTED),
    (np.int8, -128, COUNTED),
    (np.uint8, 128, BEHIND),
    (np.uint8, 0, COUNTED),
    (np.int8, 0, COUNTED),
    (np.uint8, 128, NOT_COUNTED),
    (np.uint8, 128, FLOAT),
    (np.uint8, 128, IN_FRONT),
]
for dtype, zero_point, form in cases:
    model, step = network(dtype, zero_point, form)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": data})[0]
    got = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([data])[0]
    exact = mean(data, form != NOT_COUNTED)
    off = [np.abs(output - exact).max() / step for output in (right, got)]
    print("seen: %-5s zero point %4d, %-30s" % (np.dtype(dtype).name, zero_point, form), end=" ")
    print("off by %.1f steps in ONNX Runtime, %4.1f in OpenVINO:" % (off[0], off[1]), *got[0, 0, 0, :3].round(2))
    assert off[0] < 2, "ONNX Runtime is no longer right"
    if zero_point != 0 and form in (COUNTED, BEHIND):
        assert off[1] > 20, "OpenVINO is no longer wrong"
        assert zero_point != 128 or got.min() < 0 < data.min(), "no negative averages any more"
    else:
        assert off[1] < 2, "OpenVINO is no longer right"
print("as documented: where padding counts, OpenVINO pads quantized tensors with code 0, not with the zero point")
PYTHON
"$work/venv/bin/python" "$work/run.py"
