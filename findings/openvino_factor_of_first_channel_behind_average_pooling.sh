#!/usr/bin/env bash
# A factor or an addend per channel behind a quantized average pooling (a BatchNorm that was not folded, a layer
# scale): where the constant is kept in float with a QuantizeLinear and a DequantizeLinear of its own, OpenVINO's CPU
# plugin takes the constant of channel 0 for all channels. The output is useless (below 0 dB), without a warning.
# Behind a convolution the same constant stops the compilation ("index '0' out of range"); behind a max pooling all is
# right.
# Who is hit: files of tools that leave constants in float behind Q and DQ, as ONNX Runtime's quantize_static does with
# AddQDQPairToWeight=True.
# Instead: store the constant as integers with a DequantizeLinear only, the default of quantize_static: right
# everywhere.
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
import logging
import platform
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
print("Python", platform.python_version(), "NumPy", np.__version__, "ONNX", onnx.__version__)
print("ONNX Runtime", onnxruntime.__version__, "OpenVINO", openvino.__version__)
print("CPU:", flags.get("model name"), "with", *(level for level in LEVELS if level in flags.get("flags", "").split()))
core = openvino.Core()
if "INT8" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
    sys.exit(print("not applicable on this CPU: OpenVINO runs no int8 here"))
logging.disable(logging.WARNING)

rng = np.random.RandomState(0)
batches = [rng.uniform(0, 1, (1, 4, 16, 16)).astype(np.float32) for _ in range(4)]
constant = np.array([-1, 0.25, 0.5, 2], np.float32).reshape(1, 4, 1, 1)


class Batches(CalibrationDataReader):
    def __init__(self):
        self.left = iter(batches)

    def get_next(self):
        batch = next(self.left, None)
        return None if batch is None else {"x": batch}


def network(first, operator):
    """Return a float network: the first layer, then the constant."""
    constants = {"constant": constant}
    if first == "Conv":
        constants["weight"] = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
        node, size = helper.make_node("Conv", ["x", "weight"], ["hidden"]), 16
    else:
        node, size = helper.make_node(first, ["x"], ["hidden"], kernel_shape=[2, 2], strides=[2, 2]), 8
    graph = helper.make_graph(
        [node, helper.make_node(operator, ["hidden", "constant"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, size, size))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def decibels(reference, values):
    reference, values = reference.astype(float), values.astype(float)
    return 10 * np.log10((reference**2).sum() / max(((reference - values) ** 2).sum(), 1e-12))


def onnx_runtime(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": batches[0]})[0]


print("expected: float or integer constant, the same values: 30 dB or more against the float network everywhere")
print("constant:", *constant.ravel())
for first in ("AveragePool", "MaxPool", "Conv"):
    for operator in ("Mul", "Add"):
        model = network(first, operator)
        onnx.save(model, "model.onnx")
        for pair in (False, True):
            options = {"AddQDQPairToWeight": pair}
            quantize_static("model.onnx", "int8.onnx", Batches(), quant_format=QuantFormat.QDQ, extra_options=options)
            int8 = open("int8.onnx", "rb").read()
            reference, right = onnx_runtime(model.SerializeToString()), onnx_runtime(int8)
            kind = "float, Q and DQ" if pair else "integers and DQ"
            seen = decibels(reference, right)
            print("seen: %-11s %s, %s: ONNX Runtime %.1f dB," % (first, operator, kind, seen), end=" ")
            assert seen > 30, "ONNX Runtime is no longer right"
            try:
                compiled = core.compile_model(core.read_model(int8), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            except RuntimeError as error:
                print("OpenVINO does not compile it:", str(error).strip().splitlines()[-1])
                assert first == "Conv" and pair, "another layer no longer compiles"
                continue
            got = compiled([batches[0]])[0]
            print("OpenVINO %.1f dB" % decibels(reference, got))
            assert not (first == "Conv" and pair), "it compiles behind a convolution by now"
            if not (first == "AveragePool" and pair):
                assert decibels(reference, got) > 30, "OpenVINO is no longer right"
                continue
            assert decibels(reference, got) < 10, "OpenVINO is no longer wrong"
            hidden = batches[0].reshape(1, 4, 8, 2, 8, 2).mean(axis=(3, 5))
            used = (got / hidden if operator == "Mul" else got - hidden).mean(axis=(0, 2, 3))
            print("      constants that OpenVINO used:", *used.round(2))
            assert np.abs(used - constant.ravel()[0]).max() < 0.05, "not the constant of channel 0"
print("as documented: behind an average pooling, channel 0's constant serves all channels")
PYTHON
cd "$work"
"$work/venv/bin/python" "$work/run.py"
