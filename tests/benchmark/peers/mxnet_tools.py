"""Quantizes with MXNet's own tool or with mxquant and runs the result in MXNet.

Options: stock-naive, stock-entropy (``quantize_model_mkldnn``, settings of MXNet's own example); fast, balanced, best
(``mxquant.quantize(..., accuracy=...)``); fast-entropy.
"""

from __future__ import annotations

import json
import logging
import warnings
from math import prod
from typing import Any, Dict, Tuple

import numpy as np
from job import Job, Run, Timer, report

import mxquant
from mxquant.runtime.mxnet import mx

Net = Tuple[Any, Dict[str, Any], Dict[str, Any]]

FP32 = {"Convolution", "FullyConnected"}
FUSED = {"_sg_mkldnn_conv", "_sg_mkldnn_fully_connected"}


def load(prefix: str) -> Net:
    """Return the fp32 network, in arrays of its own, since the stock operators change their callers' weights."""
    symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
    return symbol, args, aux


def stock(net: Net, job: Job, mode: str) -> Tuple[Net, Dict[str, Any]]:
    """Return the int8 network of ``mxnet.contrib.quantization``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mxnet.contrib.quantization import quantize_model_mkldnn
    data = mx.io.NDArrayIter({"data": job.calibration}, batch_size=len(job.calibration))
    with Timer() as timer:
        quantized = quantize_model_mkldnn(
            *net,
            label_names=None,
            calib_mode=mode,
            calib_data=data,
            quantized_dtype="auto",
            quantize_mode="smart",
            logger=logging.getLogger("stock"),
        )
    return quantized, {"quantize_seconds": timer.seconds, "version": f"mxnet {mx.__version__}"}


def ours(net: Net, job: Job, accuracy: str, **options: Any) -> Tuple[Net, Dict[str, Any]]:
    """Return the int8 network of mxquant."""
    symbol, args, aux = net
    with Timer() as timer:
        result = mxquant.quantize(
            symbol, job.calibration, arg_params=args, aux_params=aux, accuracy=accuracy, **options
        )
    notes = {"quantize_seconds": timer.seconds, "isa": result.plan.isa, "settings": dict(result.plan.settings)}
    notes["version"] = f"mxquant {mxquant.__version__}"
    return (result.symbol, result.arg_params, result.aux_params), notes


def runner(net: Net, shape: Tuple[int, ...]) -> Run:
    """Return a function from images to logits."""
    symbol, args, aux = net
    data = mx.nd.zeros(shape)
    executor = symbol.bind(mx.cpu(), {**args, "data": data}, aux_states=aux, grad_req="null")

    def run(images: np.ndarray) -> np.ndarray:
        data[:] = images
        return executor.forward(is_train=False)[0].asnumpy()

    return run


def mac_share(net: Net, shape: Tuple[int, ...]) -> float:
    """Return the share of multiplications in int8, by the nodes of the int8 network."""
    symbol, args, _ = net
    internals = symbol.get_internals()
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape(data=shape)[1]))
    nodes = json.loads(symbol.tojson())["nodes"]
    total, int8 = 0, 0
    for node in nodes:
        if node["op"] not in FP32 | FUSED:
            continue
        weight = args[nodes[node["inputs"][1][0]]["name"]]
        (output,) = (shapes[key] for key in (f"{node['name']}_output", f"{node['name']}_output0") if key in shapes)
        macs = prod(output) * prod(weight.shape[1:])
        total += macs
        int8 += macs * (node.get("attrs", {}).get("quantized", "").lower() in ("true", "1"))
    return int8 / total


def main() -> None:
    """Do one job."""
    job = Job.parse()
    logging.disable(logging.WARNING)
    net, reference = load(job.prefix), load(job.prefix)
    tool, _, mode = job.option.partition("-")
    quantized, notes = (
        stock(net, job, mode) if tool == "stock" else ours(net, job, tool, **({"method": mode} if mode else {}))
    )
    shape = job.evaluation.shape
    report(job, runner(reference, shape), runner(quantized, shape), mac_share=mac_share(quantized, shape), **notes)


if __name__ == "__main__":
    main()
