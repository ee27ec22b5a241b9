"""Quantizes with ONNX Runtime's quantize_static (QDQ, per channel) and runs the result.

Options: u8s8, u8u8, both with min-max; u8s8-entropy.

What runs in int8 is read off the graph that ONNX Runtime has optimized, not off the QDQ nodes.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator

import numpy as np
import onnx
import onnxruntime
from job import THREADS, Job, Run, Timer, report
from macs import macs_of
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from settings import onnxruntime_options

WEIGHTS = {"u8s8": QuantType.QInt8, "u8u8": QuantType.QUInt8}
INT8 = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}


class Images(CalibrationDataReader):
    """Hands out images one by one."""

    def __init__(self, images: np.ndarray) -> None:
        self._images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> Any:
        """Return the next input, or None."""
        image = next(self._images, None)
        return None if image is None else {"data": image[None]}


def quantize(job: Job, folder: Path) -> Path:
    """Return the file of the int8 network."""
    types, _, method = job.option.partition("-")
    prepared, quantized = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(f"{job.prefix}.onnx", str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(quantized),
        Images(job.calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=WEIGHTS[types],
        calibrate_method=CalibrationMethod.Entropy if method else CalibrationMethod.MinMax,
    )
    return quantized


def session(path: Path, optimized: Path) -> Run:
    """Return a network that runs on this CPU; what became of it is written to `optimized`."""
    options = onnxruntime_options(THREADS)
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"data": images})[0]


def mac_share(macs: Dict[str, int], optimized: Path) -> float:
    """Return the share of multiplications in int8; fused nodes are called as their main nodes, with a suffix."""
    nodes = onnx.load(str(optimized)).graph.node
    int8 = {node.name.split("_token_")[0] for node in nodes if node.op_type in INT8}
    return sum(count for name, count in macs.items() if name in int8) / sum(macs.values())


def main() -> None:
    """Do one job."""
    job = Job.parse()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Timer() as timer:
            path = quantize(job, folder)
        fp32 = session(Path(f"{job.prefix}.onnx"), folder / "fp32-optimized.onnx")
        int8 = session(path, folder / "int8-optimized.onnx")
        share = mac_share(macs_of(f"{job.prefix}.onnx"), folder / "int8-optimized.onnx")
        report(job, fp32, int8, timer.seconds, share, version=onnxruntime.__version__)


if __name__ == "__main__":
    main()
