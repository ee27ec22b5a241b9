#!/usr/bin/env bash
# With ceil_mode=1 the last window of a MaxPool may begin in the padding behind the data. ONNX leaves it out (in words
# since opset 22; ONNX Runtime does in every opset). OpenVINO's ONNX reader keeps it: the output has a row and a column
# more, and the maximum of nothing is the lowest float, -3.4e38, which becomes infinity in the next convolution. No
# warning. AveragePool with the same attributes is right, and so is MaxPool where every window begins in the data.
# Who is hit: networks with MaxPool2d(2, stride=2, padding=1, ceil_mode=True) on odd sizes, 1x1 with stride 2 on even
# ones: wherever ceil((x + 2p - k) / s) * s - p >= x for data of size x, kernel k, stride s, padding p.
# Instead: ceil_mode=0 in exactly these cases, which leaves out that window and no other; where only one axis is so,
# write the rounding up of the other as padding.
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
from onnx import TensorProto, helper

lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
levels = [each for each in ("avx2", "avx512f", "avx512_vnni") if each in flags.get("flags", "").split()]
print("Python", platform.python_version(), "NumPy", np.__version__, "ONNX", onnx.__version__)
print("ONNX Runtime", onnxruntime.__version__, "OpenVINO", openvino.__version__)
print("CPU:", flags.get("model name"), "with", *levels)
onnxruntime.set_default_logger_severity(3)
core = openvino.Core()
LOWEST = np.finfo(np.float32).min


def outputs(operator, opset, size, ceil_mode):
    data = np.random.RandomState(0).uniform(1, 2, (1, 1, size, size)).astype(np.float32)
    pooling = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": ceil_mode}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **pooling)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    model = model.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, {"x": data})[0], compiled([data])[0]


print("expected: the same shape and the same numbers, all from 1 to 2, in ONNX Runtime and OpenVINO")
cases = [(13, 7, 1, "MaxPool"), (22, 7, 1, "MaxPool"), (22, 7, 0, "MaxPool"), (22, 8, 1, "MaxPool")]
for opset, size, ceil_mode, operator in [*cases, (22, 7, 1, "AveragePool")]:
    right, got = outputs(operator, opset, size, ceil_mode)
    print(f"seen: {operator} opset {opset}, size {size}, ceil_mode {ceil_mode}:", end=" ")
    print(f"ONNX Runtime {right.shape} from {right.min():.3g}, OpenVINO {got.shape} from {got.min():.3g}")
    assert right.min() >= 1, "ONNX Runtime is no longer right"
    if operator == "MaxPool" and size == 7 and ceil_mode:
        assert right.shape == (1, 1, 4, 4) and got.shape == (1, 1, 5, 5), "shapes are others now"
        assert (got[..., 4, :] == LOWEST).all() and (got[..., 4] == LOWEST).all(), "no lowest float any more"
        assert np.array_equal(got[..., :4, :4], right), "the other windows differ now"
    else:
        assert got.shape == right.shape and np.allclose(got, right), "OpenVINO is no longer right"
print("as documented: OpenVINO's MaxPool with ceil_mode returns the lowest float for windows that have no data")
PYTHON
"$work/venv/bin/python" "$work/run.py"
