#!/usr/bin/env bash
# With ceil_mode=1 the last window of a pooling may begin in the padding behind the data. onnx's shape inference counts
# it in every opset before 22; nothing else does: ONNX Runtime leaves it out in every opset, with a warning that the
# shape is not the one of the model, and so does onnx's own reference evaluator. From opset 22 on all three agree.
# Who is hit: whoever takes shapes of tensors from infer_shapes: to choose kernel sizes, to allocate results, to turn a
# global pooling or a Flatten into fixed numbers. Files of PyTorch's MaxPool2d(2, stride=2, padding=1, ceil_mode=True)
# on odd sizes are such; those of the usual 3x3 with stride 2 and padding 1 are not.
# Instead: convert the file to opset 22 before its shapes are inferred, or write the rounding up as padding.
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
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.2.6 onnx==1.23.2 onnxruntime==1.32.0

cat >"$work/run.py" <<'PYTHON'
import platform

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator

lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
flags = {name.strip(): value.strip() for name, value in lines.items()}
levels = [each for each in ("avx2", "avx512f", "avx512_vnni") if each in flags.get("flags", "").split()]
print("Python", platform.python_version(), "NumPy", np.__version__, "ONNX", onnx.__version__)
print("ONNX Runtime", onnxruntime.__version__, "CPU:", flags.get("model name"), "with", *levels)
onnxruntime.set_default_logger_severity(3)
print("expected: for each opset the same shape from inference, the reference evaluator and ONNX Runtime")
data = np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7)
for operator in ("MaxPool", "AveragePool"):
    for opset in (13, 19, 21, 22):
        pooling = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}
        graph = helper.make_graph(
            [helper.make_node(operator, ["x"], ["y"], **pooling)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model)
        output = shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
        inferred = tuple(axis.dim_value for axis in output.dim)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        run, reference = session.run(None, {"x": data})[0], ReferenceEvaluator(model).run(None, {"x": data})[0]
        print(f"seen: {operator} opset {opset}: inferred {inferred}, reference {reference.shape}, run {run.shape}")
        assert run.shape == reference.shape == (1, 1, 4, 4) and np.allclose(run, reference), "what is computed changed"
        assert inferred == ((1, 1, 4, 4) if opset >= 22 else (1, 1, 5, 5)), "what is inferred changed"
print("as documented: before opset 22 a window is inferred that nothing computes")
PYTHON
"$work/venv/bin/python" "$work/run.py"
