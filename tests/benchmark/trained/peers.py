"""Scores one trained network: ``python -m tests.benchmark.trained.peers NAME ONNX DATA_FOLDER [TITLE=INT8_ONNX ...]``.

Runs in the peers' environment. The int8 files that are given, the best of ONNX Runtime's own tool and the best of NNCF
are run beside fp32, on data that none of them was calibrated on; what comes out is printed as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Tuple

import nncf
import numpy as np
import onnx.version_converter
import onnxruntime
import openvino as ov
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from tests.benchmark.peers.settings import onnxruntime_options, openvino_config
from tests.benchmark.trained.networks import NETWORKS, Trained
from tests.decibels import sqnr

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
ROUNDS = 7

Arrays = Dict[str, np.ndarray]
Run = Callable[[Arrays], List[np.ndarray]]


def batches(data: Arrays, size: int) -> Iterator[Arrays]:
    """Yield parts of data."""
    for start in range(0, len(next(iter(data.values()))), size):
        yield {name: value[start : start + size] for name, value in data.items()}


def in_onnxruntime(path: Path) -> Run:
    """Return a network that runs in ONNX Runtime."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(path), onnxruntime_options(THREADS), providers=providers)
    names = [each.name for each in session.get_inputs()]
    return lambda data: session.run(None, dict(zip(names, data.values())))


def in_openvino(model: Any, data: Arrays) -> Run:
    """Return a network that runs in OpenVINO, for data of these shapes."""
    model = model.clone()
    model.reshape({port: list(value.shape) for port, value in zip(model.inputs, data.values())})
    request = ov.Core().compile_model(model, "CPU", openvino_config(THREADS)).create_infer_request()
    return lambda values: [np.array(each) for each in request.infer(list(values.values())).values()]


class Reader(CalibrationDataReader):
    """Hands out examples one by one."""

    def __init__(self, data: Arrays) -> None:
        self._data = batches(data, 1)

    def get_next(self) -> Any:
        """Return the next input, or None."""
        return next(self._data, None)


def by_onnxruntime(path: Path, data: Arrays, folder: Path) -> Iterator[Tuple[str, Path]]:
    """Yield what ONNX Runtime's own tool makes, per channel, by each of its usual settings."""
    newer, prepared = folder / "newer.onnx", folder / "prepared.onnx"
    model = onnx.load(str(path))
    # Scales for each channel came with opset 13.
    opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    onnx.save(model if opset >= 13 else onnx.version_converter.convert_version(model, 13), str(newer))
    try:
        quant_pre_process(str(newer), str(prepared), skip_symbolic_shape=True)
    except Exception:  # a network that it cannot prepare is quantized as it is
        prepared = newer
    for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile):
        for kind, activations in (("u8s8", QuantType.QUInt8), ("s8s8", QuantType.QInt8)):
            out = folder / f"{kind}-{method.name}.onnx"
            quantize_static(
                str(prepared),
                str(out),
                Reader(data),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=activations,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
            )
            yield out.stem, out


def by_nncf(model: Any, data: Arrays) -> Iterator[Tuple[str, Any]]:
    """Yield what NNCF makes by each of its presets."""
    examples = [list(each.values()) for each in batches(data, 1)]
    for title, options in (
        ("performance", {}),
        ("mixed", {"preset": nncf.QuantizationPreset.MIXED}),
        ("transformer", {"model_type": nncf.ModelType.TRANSFORMER}),
    ):
        yield title, nncf.quantize(model.clone(), nncf.Dataset(examples), subset_size=len(examples), **options)


def score(trained: Trained, exact: List[np.ndarray], run: Run, data: Arrays) -> Dict[str, Any]:
    """Return the SQNR of each output in dB, and what the outputs are worth."""
    found = [np.concatenate(parts) for parts in zip(*(run(part) for part in batches(data, trained.batch)))]
    levels = [round(sqnr(first, second), 2) for first, second in zip(exact, found)]
    return {"sqnr": levels, "figure": trained.figure(exact[trained.output], found[trained.output])}


def ratio(fp32: Run, int8: Run, data: Arrays) -> float:
    """Return the time of int8 over that of fp32, taken in turns."""
    seconds: Dict[str, List[float]] = {"fp32": [], "int8": []}
    for _ in range(ROUNDS):
        for name, run in (("fp32", fp32), ("int8", int8)):
            start = time.perf_counter()
            run(data)
            seconds[name].append(time.perf_counter() - start)
    return median(seconds["int8"]) / median(seconds["fp32"])


def best(rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return the row with the highest SQNR of the output that the figure is of; errors where there is none."""
    good = [row for row in rows if "sqnr" in row]
    return [max(good, key=lambda row: row["sqnr"][row["output"]])] if good else rows[:1]


def main() -> None:
    """Print the rows of one network."""
    logging.disable(logging.WARNING)
    nncf.set_log_level(logging.ERROR)
    name, file, folder, *ours = sys.argv[1:]
    trained, path = NETWORKS[name], Path(file)
    calibration, evaluation = (dict(np.load(f"{folder}/{name}-{part}.npz")) for part in ("calibration", "evaluation"))
    first = next(batches(evaluation, trained.batch))
    fp32 = in_onnxruntime(path)
    exact = [np.concatenate(parts) for parts in zip(*(fp32(part) for part in batches(evaluation, trained.batch)))]
    model = ov.convert_model(str(path))
    other = in_openvino(model, first)

    def row(title: str, where: str, make: Callable[[], Run]) -> Dict[str, Any]:
        made: Dict[str, Any] = {"title": title, "runtime": where, "output": trained.output}
        try:
            run = make()
            made.update(score(trained, exact, run, evaluation))
            made["ratio"] = ratio(fp32 if where == "ONNX Runtime" else other, run, first)
        except Exception as error:
            made["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return made

    rows = []
    for each in ours:
        title, _, int8 = each.partition("=")
        rows.append(row(title, "ONNX Runtime", lambda int8=int8: in_onnxruntime(Path(int8))))
        rows.append(row(title, "OpenVINO", lambda int8=int8: in_openvino(ov.convert_model(int8), first)))
    with tempfile.TemporaryDirectory() as temporary:
        made = by_onnxruntime(path, calibration, Path(temporary))
        rows += best([row(f"ORT {title}", "ONNX Runtime", lambda f=f: in_onnxruntime(f)) for title, f in made])
    presets = by_nncf(model, calibration)
    rows += best([row(f"NNCF {title}", "OpenVINO", lambda m=m: in_openvino(m, first)) for title, m in presets])
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
