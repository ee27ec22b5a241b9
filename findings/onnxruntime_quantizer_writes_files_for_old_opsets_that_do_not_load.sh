#!/usr/bin/env bash
# quantize_static with per_channel=True and QDQ, for a file of opset 11 or 12, as exporters of PaddlePaddle and older ones
# of PyTorch write: it says nothing and writes a file that ONNX Runtime itself refuses to load. One scale per channel
# came to DequantizeLinear with opset 13; the file keeps the old opset. Per tensor all is well.
# Who is hit: whoever quantizes a file that is a few years old; the error comes where the int8 file is deployed, and
# speaks of an attribute, not of the opset.
# Instead: onnx.version_converter.convert_version(model, 13) before, and loading the int8 file where it is made.
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
import onnx.version_converter
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


weights = {"first": rng.randn(16, 3, 3, 3) / 5}
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "first"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"])],
    "network",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 16, 16])],
    [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
)
print("expected: what quantize_static writes can be loaded, or it refuses the file")
seen = {}
for opset, newer in ((11, False), (12, False), (12, True)):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(onnx.version_converter.convert_version(model, 13) if newer else model, f"{folder}/fp32.onnx")
    exact = computed(f"{folder}/fp32.onnx")
    for per_channel in (False, True):
        options = {"quant_format": QuantFormat.QDQ, "per_channel": per_channel}
        quantize_static(f"{folder}/fp32.onnx", f"{folder}/int8.onnx", Images(), **options)
        written = onnx.load(f"{folder}/int8.onnx").opset_import[0].version
        try:
            noise = np.square(exact - computed(f"{folder}/int8.onnx")).sum()
            answer = "%.1f dB" % (10 * np.log10(np.square(exact).sum() / noise))
        except Exception as error:
            answer = type(error).__name__
        seen[opset, newer, per_channel] = answer
        title = "opset %d%s, per %s" % (
            opset, ", converted to 13" if newer else "", "channel" if per_channel else "tensor"
        )
        print("seen: %s: written with opset %d, %s" % (title, written, answer))
broken = [key for key, answer in seen.items() if not answer.endswith("dB")]
assert broken == [(11, False, True), (12, False, True)], "other files can be loaded now"
print("as documented: per channel, files of opset 11 and 12 cannot be loaded once they are quantized")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work"
