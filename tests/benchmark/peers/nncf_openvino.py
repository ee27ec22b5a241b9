"""Quantizes with NNCF and runs the result in OpenVINO; options: default, full (bias correction that is not the fast).

Both run float32 in float32: on CPUs with bfloat16 OpenVINO would else take that. What runs in int8 is read off the
compiled graph.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, Tuple

import nncf
import numpy as np
import openvino as ov
from job import THREADS, Job, Run, Timer, report
from macs import macs_of
from settings import openvino_config

OPTIONS = {"default": {}, "full": {"fast_bias_correction": False}}
CONFIG = openvino_config(THREADS)
KEYS = ("layerType", "originalLayersNames", "primitiveType", "runtimePrecision")


def quantize(model: Any, job: Job) -> Any:
    """Return the int8 network."""
    images = nncf.Dataset(list(job.calibration[:, None]))
    return nncf.quantize(model, images, subset_size=len(job.calibration), **OPTIONS[job.option])


def compiled(core: Any, model: Any, shape: Any) -> Any:
    """Return the network compiled for one shape."""
    model = model.clone()
    model.reshape(list(shape))
    return core.compile_model(model, "CPU", CONFIG)


def runner(model: Any) -> Run:
    """Return a function from images to logits."""
    request = model.create_infer_request()
    return lambda images: np.array(request.infer([images])[0])


def executed(model: Any) -> Dict[str, Tuple[str, str]]:
    """Return precision and kernel of every convolution and dense layer by its name in the ONNX file."""
    layers = {}
    for node in model.get_runtime_model().get_ops():
        info = {key: str(node.rt_info[key].value) for key in KEYS if key in node.rt_info}
        if info.get("layerType") in ("Convolution", "GroupConvolution", "FullyConnected", "MatMul"):
            for name in info["originalLayersNames"].split(","):
                # Called after the ONNX node, or after what it returns.
                layers[name.split("/")[0].removesuffix("_output")] = info["runtimePrecision"], info["primitiveType"]
    return layers


def mac_share(macs: Dict[str, int], layers: Dict[str, Tuple[str, str]]) -> float:
    """Return the share of multiplications in int8."""
    missing = [name for name in macs if name not in layers]
    if missing:
        raise KeyError(f"the compiled network does not tell what became of {', '.join(missing)}")
    return sum(count for name, count in macs.items() if layers[name][0] in ("i8", "u8")) / sum(macs.values())


def main() -> None:
    """Do one job."""
    job = Job.parse()
    nncf.set_log_level(logging.ERROR)
    core = ov.Core()
    # Not core.read_model, which leaves a Reshape behind each bias: NNCF would find no bias to correct.
    model = ov.convert_model(f"{job.prefix}.onnx")
    with Timer() as timer:
        quantized = quantize(model, job)
    fp32, int8 = (compiled(core, each, job.evaluation.shape) for each in (model, quantized))
    macs, layers = macs_of(f"{job.prefix}.onnx"), executed(int8)
    kernels = sorted({layers[name][1] for name in macs})
    share = mac_share(macs, layers)
    versions = f"nncf {nncf.__version__}, openvino {ov.__version__}"
    report(job, runner(fp32), runner(int8), timer.seconds, share, version=versions, kernels=kernels)


if __name__ == "__main__":
    main()
