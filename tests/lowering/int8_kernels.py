"""Single int8 layers in MXNet's own operators, in a process of their own, and the same sums in whole numbers.

oneDNN reads ``DNNL_MAX_CPU_ISA`` once per process, so every level of instructions needs one. It takes a layer per line
of JSON and answers with a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mxquant.graph import Graph, Node, Tensor
from mxquant.lowering.saturation import neighbours
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of, symbol_of
from tests.levels import environment

ROOT = Path(__file__).parents[2]
# Ends of the ranges in which a float32 whole number is its own code.
ENDS = {"uint8": (0.0, 255.5), "int8": (-127.5, 127.5)}


class Kernels:
    """A process that computes layers with the instructions of one level."""

    def __init__(self, isa: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lowering.int8_kernels"],
            env=environment(isa),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> Kernels:
        return self

    def __exit__(self, *error: Any) -> None:
        with self._process:
            self._process.stdin.close()

    def run(self, data: np.ndarray, weight: np.ndarray, dtype: str, **attrs: Any) -> np.ndarray:
        """Return the int32 sums of a layer for codes of its data and values of its weight; see `layer`."""
        request = {"data": data.tolist(), "weight": weight.astype(float).tolist(), "dtype": dtype, "attrs": attrs}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        return np.array(reply).astype(np.int64)


def layer(data: np.ndarray, weight: np.ndarray, dtype: str, **attrs: Any) -> np.ndarray:
    """Return what MXNet computes: a FullyConnected for a weight of two dimensions, or a Convolution."""
    variable, low_high = mx.sym.var("data"), dict(zip(("min_calib_range", "max_calib_range"), map(str, ENDS[dtype])))
    if weight.ndim == 2:
        symbol = mx.sym.FullyConnected(variable, num_hidden=len(weight), no_bias=True, name="layer")
    else:
        attrs["kernel"] = weight.shape[2:]
        symbol = mx.sym.Convolution(variable, num_filter=len(weight), no_bias=True, name="layer", **attrs)
    graph = graph_of(backend_symbol(symbol, "MKLDNN_QUANTIZE"))
    inputs = {name: Node("null", name) for name in ("data", "layer_weight")}
    quantize = Node("_contrib_quantize_v2", "q", {"out_type": dtype, **low_high}, [inputs["data"].output], 3)
    fused = graph.operators[0]
    # A FullyConnected returns float32: with scales of 1, its sums.
    scales = {"channel_wise_quantize": "True", "enable_float_output": "True"} if weight.ndim == 2 else {}
    int8 = Node(
        fused.op,
        "layer",
        {**fused.attrs, "quantized": "True", **scales},
        [Tensor(quantize, 0), inputs["layer_weight"].output, Tensor(quantize, 1), Tensor(quantize, 2)],
        1 if scales else 3,
        fused.subgraphs,
    )
    nodes = [*inputs.values(), quantize, int8]
    executor = symbol_of(Graph(nodes, [Tensor(int8, 0)], dict(graph.attrs))).bind(
        mx.cpu(),
        {"data": mx.nd.array(data, dtype="float32"), "layer_weight": mx.nd.array(weight, dtype="float32")},
        grad_req="null",
    )
    return executor.forward(is_train=False)[0].asnumpy()


def values_of(codes: np.ndarray) -> np.ndarray:
    """Return weights that MXNet quantizes to these codes with a scale of 1 in each channel.

    Each channel has to hold a 127 or a -128, which stand for the values 127.5 and -127.5.
    """
    assert ((codes == 127) | (codes == -128)).reshape(len(codes), -1).any(axis=1).all()
    return np.where(codes == 127, 127.5, np.where(codes == -128, -127.5, codes))


def rows_of(data: np.ndarray, weight: np.ndarray, num_group: int = 1, **attrs: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Return the factors of every sum of a layer: data and weights, shapes (N, O, places, K) and (O, 1, K)."""
    data, weights = data.astype(np.int64), weight.reshape(len(weight), 1, -1)
    if weight.ndim == 2:
        return data[:, None, None, :], weights
    kernel = weight.shape[2:]
    pad: Optional[List[int]] = attrs.get("pad")
    data = np.pad(data, [(0, 0), (0, 0), *((p, p) for p in pad or [0] * len(kernel))])
    sizes = [size - k + 1 for size, k in zip(data.shape[2:], kernel)]
    places = [
        data[(slice(None), slice(None), *(slice(start, start + size) for start, size in zip(offset, sizes)))]
        for offset in product(*map(range, kernel))
    ]
    # (N, C, kernel, outputs) to (N, groups, outputs, channels of a group and kernel)
    windows = np.stack(places, axis=2).reshape(len(data), num_group, -1, int(np.prod(sizes)))
    rows = np.repeat(windows.transpose(0, 1, 3, 2), len(weight) // num_group, axis=1)
    return rows, weights


def exact(data: np.ndarray, weight: np.ndarray, **attrs: Any) -> np.ndarray:
    """Return the sums of a layer, shape (N, O, places)."""
    rows, weights = rows_of(data, weight, **attrs)
    return (rows * weights).sum(axis=-1)


def saturating(data: np.ndarray, weight: np.ndarray, **attrs: Any) -> np.ndarray:
    """Return the sums of a layer whose neighbouring products are added in a saturating int16."""
    rows, weights = rows_of(data, weight, **attrs)
    products = rows * weights
    partner = neighbours(weight.shape, attrs.get("num_group", 1))
    alone, first = np.flatnonzero(partner < 0), np.flatnonzero(partner > np.arange(len(partner)))
    pairs = products[..., first] + products[..., partner[first]]
    return np.clip(pairs, -32768, 32767).sum(axis=-1) + products[..., alone].sum(axis=-1)


def main() -> None:
    """Answer requests until there are no more. Whatever else writes to the standard output is sent elsewhere."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request: Dict[str, Any] = json.loads(line)
        data, weight = (np.array(request[name]) for name in ("data", "weight"))
        sums = layer(data, weight, request["dtype"], **request["attrs"])
        replies.write(json.dumps(sums.reshape(*sums.shape[:2], -1).tolist()) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
