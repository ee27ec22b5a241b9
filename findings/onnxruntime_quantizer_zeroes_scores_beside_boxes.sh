#!/usr/bin/env bash
# A detector that returns boxes in pixels and scores from 0 to 1 in one tensor, joined by a Concat, as YOLOv5, YOLOv8 and
# YOLOX are exported. ONNX Runtime's quantize_static gives the joined tensor one scale, that of the boxes: scores become 0
# or the next code, here 1. No warning, and the error of the tensor as a whole is small, 50 dB here: by that the file
# looks fine, but it finds nothing at all, or everything.
# Who is hit: whoever quantizes such a file by quantize_static with its usual operators, and checks it by the error of the
# output.
# Instead: leave what is behind the last convolutions out, by nodes_to_exclude, or Concat by op_types_to_quantize; or cut
# the outputs apart before. Check scores and boxes by themselves.
set -euo pipefail

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
    numpy==2.2.6 onnx==1.23.2 onnxruntime==1.32.0

cat >"$work/run.py" <<'PYTHON'
import logging
import platform
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

LEVELS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp")
lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().splitlines() if ":" in line)
about = {name.strip(): value.strip() for name, value in lines.items()}
flags = about.get("flags", about.get("Features", "")).split()
print("Python", platform.python_version(), "NumPy", np.__version__, "ONNX", onnx.__version__)
print("ONNX Runtime", onnxruntime.__version__)
print("CPU:", about.get("model name", platform.machine()), "with", *(level for level in LEVELS if level in flags))
logging.disable(logging.WARNING)
folder = sys.argv[1]
rng = np.random.RandomState(0)
images = rng.randn(16, 1, 3, 16, 16).astype(np.float32)


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(images)

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image}


def computed(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images[0]})[0]


weights = {
    "first": rng.randn(16, 3, 3, 3) / 5,
    "to_boxes": 10 * rng.randn(4, 16, 1, 1),
    "middle": np.full(4, 160.0),
    "to_scores": rng.randn(2, 16, 1, 1) / 4,
}
graph = helper.make_graph(
    [
        helper.make_node("Conv", ["x", "first"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "to_boxes", "middle"], ["boxes"]),
        helper.make_node("Conv", ["r", "to_scores"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["y"], "join", axis=1),
    ],
    "detector",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 16, 16])],
    [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), f"{folder}/fp32.onnx")
exact = computed(f"{folder}/fp32.onnx")
print("expected: scores near those of fp32, which lie from %.2f to %.2f" % (exact[0, 4:].min(), exact[0, 4:].max()))
different = {}
for title, options in (("as it is", {}), ("the Concat left out", {"nodes_to_exclude": ["join"]})):
    quantize_static(
        f"{folder}/fp32.onnx", f"{folder}/int8.onnx", Images(), quant_format=QuantFormat.QDQ, per_channel=True, **options
    )
    found = computed(f"{folder}/int8.onnx")
    noise = 10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum())
    values = np.unique(found[0, 4:].round(3))
    different[title] = len(values)
    print("seen: %s: %.1f dB over all; %d different scores, such as" % (title, noise, len(values)), *values[:4])
assert different["as it is"] <= 2, "scores beside boxes have more than two values now"
assert different["the Concat left out"] > 20, "scores are no longer right without the Concat"
print("as documented: scores that are joined to boxes have no more than two values")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work"
