"""Entropy calibration of resnet50_v1, beside the stock tool and beside the fp32 forward passes, each in one run."""

from __future__ import annotations

import time
import warnings
from statistics import median
from typing import Any, Dict, List

import pytest

from mxquant.quantization import quantize_model_mkldnn
from mxquant.runtime.mxnet import mx
from tests.benchmark.worker import call
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
def test_calibration_costs_less_than_twice_the_forward_passes() -> None:
    seconds = call("calibration:beside_forward", "resnet50_v1", 64, 5)
    forward, ours = (median(seconds[kind]) for kind in ("forward", "calibration"))
    print(f"\nentropy over 64 images: {ours:.2f} s, forward passes {forward:.2f} s: {ours / forward:.2f}x")
    assert ours <= 2 * forward
