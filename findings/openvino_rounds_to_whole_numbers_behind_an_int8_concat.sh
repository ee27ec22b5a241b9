#!/usr/bin/env bash
# Two int8 tensors (QuantizeLinear, DequantizeLinear) meet in a Concat in front of a quantized convolution. OpenVINO's
# CPU plugin rounds what the convolution reads to whole numbers, as if the scale were 1: 10 to 15 dB are left, without
# a warning. The same file with uint8 and zero point 128 is right, and ONNX Runtime is right with both.
# Who is hit: networks with Concat (Inception, DenseNet, YOLO, U-Net) in files with int8 activations and zero point 0,
# the only form that TensorRT takes.
# Instead: write uint8 with zero point 128 for OpenVINO (the same grid, shifted), so one file per runtime. Compare the
# outputs of a second runtime, by their error in dB, once per file.
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

rng = np.random.RandomState(0)
STEP = np.float32(3 / 127)
one, two = (rng.uniform(-2.9, 2.9, (1, 8, 16, 16)).astype(np.float32) for _ in range(2))
# A convolution that returns its input: 100 codes of 0.01 on the diagonal.
codes = (100 * np.eye(16)).astype(np.int8).reshape(16, 16, 1, 1)
WEIGHT_STEP = np.float32(0.01)


def network(dtype, zero_point):
    constants = {"step": STEP, "zero": np.array(zero_point, dtype)}
    constants.update(codes=codes, weight_step=WEIGHT_STEP, weight_zero=np.int8(0))
    nodes = []
    for name in ("one", "two"):
        nodes.append(helper.make_node("QuantizeLinear", [name, "step", "zero"], [name + "_codes"]))
        nodes.append(helper.make_node("DequantizeLinear", [name + "_codes", "step", "zero"], [name + "_values"]))
    nodes += [
        helper.make_node("Concat", ["one_values", "two_values"], ["both"], axis=1),
        helper.make_node("DequantizeLinear", ["codes", "weight_step", "weight_zero"], ["weight"]),
        helper.make_node("Conv", ["both", "weight"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, one.shape) for name in ("one", "two")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 16, 16, 16))
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, [output], tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def decibels(reference, values):
    reference, values = reference.astype(float), values.astype(float)
    return 10 * np.log10((reference**2).sum() / max(((reference - values) ** 2).sum(), 1e-9))


both = np.concatenate([one, two], axis=1)
exact = np.rint(both / STEP) * float(STEP)
print("expected: both files write the same grid, and the convolution returns its input, so each output is the input")
print("input:", *exact.ravel()[:8].round(2))
seen = {}
for label, dtype, zero_point in (("uint8", np.uint8, 128), ("int8", np.int8, 0)):
    model = network(dtype, zero_point)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = {
        "ONNX Runtime": session.run(None, {"one": one, "two": two})[0],
        "OpenVINO": compiled({"one": one, "two": two})[0],
    }
    for runtime, output in outputs.items():
        seen[label, runtime] = decibels(exact, output)
        print("seen: %-5s %-12s %6.1f dB" % (label, runtime, seen[label, runtime]), *output.ravel()[:8].round(2))
    whole = np.abs(outputs["OpenVINO"] - np.rint(outputs["OpenVINO"])).max() < 1e-3
assert min(seen["uint8", "ONNX Runtime"], seen["int8", "ONNX Runtime"]) > 50, "ONNX Runtime is no longer right"
assert seen["uint8", "OpenVINO"] > 50, "uint8 is no longer right in OpenVINO"
assert seen["int8", "OpenVINO"] < 20 and whole, "int8 is no longer rounded to whole numbers in OpenVINO"
print("as documented: every value that OpenVINO reads behind the int8 Concat is a whole number")
PYTHON
"$work/venv/bin/python" "$work/run.py"
