"""LSTM layers in int8, by the stock tool and by mxquant, beside fp32: how near and how fast.

::

    python -m tests.benchmark.recurrent [--out FILE]

Random weights and data, one thread, all three in turns. Scored on data that were not calibrated on. It needs a level of
instructions at which MXNet's int8 LSTM runs: without VNNI, or DNNL_MAX_CPU_ISA=AVX512_CORE.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, NamedTuple

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import numpy as np

import mxquant
from mxquant.lowering.trial import lstm_failure
from mxquant.runtime.mxnet import mx
from tests.benchmark.machine import described, machine
from tests.benchmark.turns import in_turns
from tests.networks import sqnr

HERE = Path(__file__).parent
HEAD = (
    "inputs, units, layers, ways",
    "data up to",
    "stock, dB",
    "mxquant, dB",
    "fp32 / stock / mxquant, ms",
    "times as fast",
)
STEPS, BATCH, ROUNDS = 24, 8, 15


class Shape(NamedTuple):
    """An LSTM, and the largest magnitude of its data."""

    inputs: int
    units: int
    layers: int
    ways: int
    largest: float


SHAPES = (
    Shape(128, 128, 1, 1, 4.0),
    Shape(256, 256, 1, 1, 1.0),
    Shape(256, 256, 1, 1, 16.0),
    Shape(512, 256, 2, 2, 4.0),
    Shape(650, 650, 2, 1, 4.0),
    Shape(1024, 1024, 1, 1, 4.0),
)


def network(shape: Shape) -> Any:
    """Return the symbol and the parameters, which let data of any magnitude count the same."""
    states = [mx.sym.zeros((shape.layers * shape.ways, 0, shape.units)) for _ in range(2)]
    attrs = {"state_size": shape.units, "num_layers": shape.layers, "bidirectional": shape.ways == 2}
    symbol = mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *states, mode="lstm", name="rnn", **attrs)
    rng, parts = np.random.RandomState(0), []
    for layer in range(shape.layers):
        width = shape.ways * shape.units if layer else shape.inputs
        for _ in range(shape.ways):
            of_data = rng.randn(4 * shape.units * width) / np.sqrt(width)
            parts += [of_data if layer else of_data * 4 / shape.largest]
            parts += [rng.randn(4 * shape.units * shape.units) / np.sqrt(shape.units)]
    parts.append(rng.randn(8 * shape.units * shape.layers * shape.ways) / 10)
    return symbol, {"vector": mx.nd.array(np.concatenate(parts))}


def data_of(shape: Shape, seed: int) -> np.ndarray:
    """Return data, shape (steps, batch, inputs)."""
    values = np.random.RandomState(seed).randn(STEPS, BATCH, shape.inputs)
    return np.clip(values * shape.largest / 4, -shape.largest, shape.largest).astype(np.float32)


def bound(symbol: Any, args: Any, aux: Any, data: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a forward pass of a network that was bound once."""
    executor = symbol.bind(mx.cpu(), {**args, "data": mx.nd.array(data)}, aux_states=aux, grad_req="null")
    return lambda: executor.forward(is_train=False)[0].asnumpy()


def measured(shape: Shape) -> Dict[str, Any]:
    """Return a row of the table."""
    symbol, args = network(shape)
    seen, unseen = data_of(shape, 1), data_of(shape, 2)
    batches = mx.io.NDArrayIter({"data": seen}, batch_size=STEPS)
    options = {"data_names": ["data"], "label_names": None, "calib_mode": "naive", "calib_data": batches}
    other = mx.contrib.quantization.quantize_model(
        symbol, args, {}, num_calib_examples=STEPS, quantized_dtype="auto", **options
    )
    model = mxquant.quantize(symbol, seen, arg_params=args, aux_params={}, data_names=["data"])
    networks = {"fp32": (symbol, args, {}), "stock": other}
    networks["mxquant"] = (model.symbol, model.arg_params, model.aux_params)
    calls = {name: bound(*each, unseen) for name, each in networks.items()}
    reference = calls["fp32"]()
    seconds = in_turns(calls, ROUNDS)
    return {
        "levels": {name: sqnr(reference, calls[name]()) for name in ("stock", "mxquant")},
        "milliseconds": [f"{1e3 * median(seconds[name]):.1f}" for name in networks],
        "ratio": median([one / int8 for one, int8 in zip(seconds["fp32"], seconds["mxquant"])]),
    }


def table() -> str:
    """Return what was measured as Markdown."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for shape in SHAPES:
        row = measured(shape)
        levels = [f"{row['levels'][name]:.1f}" for name in ("stock", "mxquant")]
        sizes = f"{shape.inputs}, {shape.units}, {shape.layers}, {shape.ways}"
        lines.append((sizes, f"{shape.largest:g}", *levels, " / ".join(row["milliseconds"]), f"{row['ratio']:.2f}"))
    return "\n".join([described(machine()), "", *(f"| {' | '.join(line)} |" for line in lines), ""])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description="Measure LSTM layers.")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "recurrent.md", metavar="FILE")
    options = parser.parse_args()
    if lstm_failure() is not None:
        parser.error(f"{lstm_failure()}; measure with DNNL_MAX_CPU_ISA=AVX512_CORE, or AVX2")
    options.out.write_text(table(), encoding="utf-8")
