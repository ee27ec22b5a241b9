#!/usr/bin/env bash
# A pooling whose stride is larger than its kernel, with auto_pad=SAME_UPPER (or SAME_LOWER), on sizes where no padding
# is needed: ONNX Runtime computes a negative padding, does not take it for 0, and ends the run with "padding values
# must be non-negative"; the session is made without a word. A Conv with the same attributes runs, and OpenVINO runs all
# of them.
# Who is hit: networks that came from TensorFlow, where residual shortcuts are thinned out by a max pooling of 1x1 with
# stride 2 and padding SAME; on odd sizes the same file runs.
# Instead: write the padding as pads=[0, 0, 0, 0]; that computes what SAME_UPPER means here.
set -euo pipefail

[ "$(uname -m)" = x86_64 ] || { echo "not applicable on this CPU: $(uname -m), not x86-64"; exit 0; }
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

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper, shape_inference

lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
levels = [each for each in ("avx2", "avx512f", "avx512_vnni") if each in flags.get("flags", "").split()]
print("Python", platform.python_version(), "NumPy", np.__version__, "ONNX", onnx.__version__)
print("ONNX Runtime", onnxruntime.__version__, "OpenVINO", openvino.__version__)
print("CPU:", flags.get("model name"), "with", *levels)
onnxruntime.set_default_logger_severity(4)
core = openvino.Core()


def outputs(operator, size, padding):
    data = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size)
    attributes = {"kernel_shape": [1, 1], "strides": [2, 2], **padding}
    weights = [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")] if operator == "Conv" else []
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *(each.name for each in weights)], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    shape = shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
    model, exact = model.SerializeToString(), data[:, :, ::2, ::2]
    assert tuple(axis.dim_value for axis in shape.dim) == exact.shape
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.array_equal(compiled([data])[0], exact), "OpenVINO is no longer right"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    try:
        right = np.array_equal(session.run(None, {"x": data})[0], exact)
    except Exception as error:
        return str(error).splitlines()[0].rsplit(": ", 1)[-1]
    return "right" if right else "wrong numbers"


same, none = {"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 0, 0]}
print("expected: every second value of every second row, in ONNX Runtime as in OpenVINO and by shape inference")
for operator in ("MaxPool", "AveragePool", "Conv"):
    for size, padding in ((8, same), (7, same), (8, none)):
        seen = outputs(operator, size, padding)
        print(f"seen: {operator} 1x1 with stride 2, size {size}, {padding}: ONNX Runtime: {seen}")
        refused = operator != "Conv" and size == 8 and padding is same
        assert seen == ("padding values must be non-negative" if refused else "right"), "ONNX Runtime changed"
print("as documented: ONNX Runtime refuses SAME padding of a pooling whose stride is larger than its kernel")
PYTHON
"$work/venv/bin/python" "$work/run.py"
