"""Entropy calibration of resnet50_v1, beside the stock tool and beside the fp32 forward passes, each in one run."""

from __future__ import annotations

import time
import warnings
from statistics import median
from typing import Any, Dict, List

import pytest

import mxquant
from mxquant._compat import mx
from mxquant.quantization import quantize_model_mkldnn
from tests.networks import images, zoo_network

ROUNDS = 5


def entropy_calibration(tool: Any, symbol: Any, args: Any, aux: Any, data: Any) -> float:
    """Return how long a tool takes, in seconds."""
    copies = [{name: value.copy() for name, value in values.items()} for values in (args, aux)]
    mx.nd.waitall()
    start = time.perf_counter()
    tool(
        symbol,
        *copies,
        label_names=None,
        calib_mode="entropy",
        calib_data=mx.io.NDArrayIter({"data": data}, batch_size=len(data)),
        quantized_dtype="auto",
        quantize_mode="full",
    )
    mx.nd.waitall()
    return time.perf_counter() - start


# The stock tool converts arrays as NumPy 1.25 deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.benchmark
def test_entropy_calibration_of_resnet50() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mxnet.contrib import quantization as stock
    data = images(8, 3, 224, 224)
    network = zoo_network("resnet50_v1", data)
    tools = {"mxquant": quantize_model_mkldnn, "stock": stock.quantize_model_mkldnn}
    times: Dict[str, List[float]] = {name: [] for name in tools}
    for _ in range(ROUNDS):
        for name, tool in tools.items():
            times[name].append(entropy_calibration(tool, *network, data))
    ours, theirs = median(times["mxquant"]), median(times["stock"])
    print({name: [round(t, 2) for t in each] for name, each in times.items()})
    print(f"\nentropy calibration of resnet50_v1, batch 8: {ours:.2f} s, stock {theirs:.2f} s: {theirs / ours:.1f}x")
    assert theirs >= 8 * ours


@pytest.mark.benchmark
@pytest.mark.parametrize("count, most", [(64, 1.35), (256, 1.25)])
def test_calibration_costs_little_more_than_inference(count: int, most: float) -> None:
    data = images(count, 3, 224, 224)
    symbol, args, aux = zoo_network("resnet50_v1", data[:8])

    def forward_passes() -> None:
        executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=(8, 3, 224, 224))
        executor.copy_params_from(args, aux)
        for begin in range(0, count, 8):
            executor.forward(is_train=False, data=mx.nd.array(data[begin : begin + 8]))[0].wait_to_read()

    def calibration() -> None:
        batches = mx.io.NDArrayIter(data, batch_size=8)
        statistics = mxquant.calibrate(symbol, batches, arg_params=args, aux_params=aux)
        mxquant.make_plan(symbol, statistics, arg_params=args, aux_params=aux, method="entropy")

    times: Dict[str, List[float]] = {"forward": [], "calibration": []}
    for _ in range(ROUNDS if count < 100 else 3):
        for name, call in (("forward", forward_passes), ("calibration", calibration)):
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    forward, ours = (median(times[name]) for name in ("forward", "calibration"))
    print(f"\nentropy over {count} images: {ours:.2f} s, forward passes {forward:.2f} s: {ours / forward:.2f}x")
    assert ours <= most * forward
