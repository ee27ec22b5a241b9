"""SQNR of every network of the Gluon zoo in int8, beside the stock tool's, in one run.

::

    python -m tests.benchmark.zoo_sqnr [NETWORK ...]

Random weights, BatchNorm statistics of the data, min-max thresholds from the same images on which the outputs are
compared: this measures the arithmetic and the rewrite, not how well a threshold generalizes.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any, Tuple

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

from mxquant.quantization import quantize_model
from mxquant.runtime.mxnet import mx
from tests import networks


def compare(name: str) -> Tuple[float, float]:
    """Return the SQNR in dB of the stock tool's int8 network and of mxquant's."""
    symbol, args, aux, data = networks.zoo(name)
    (reference,) = networks.forward(symbol, args, aux, data=data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mxnet.contrib.quantization import quantize_model_mkldnn
    ours, stock = (_sqnr(tool, symbol, args, aux, data, reference) for tool in (quantize_model, quantize_model_mkldnn))
    return stock, ours


def _sqnr(tool: Any, symbol: Any, args: Any, aux: Any, data: Any, reference: Any) -> float:
    # Arrays of their own, since the stock operators change their callers' weights.
    quantized = tool(
        symbol,
        {name: value.copy() for name, value in args.items()},
        {name: value.copy() for name, value in aux.items()},
        label_names=None,
        calib_mode="naive",
        calib_data=mx.io.NDArrayIter({"data": data}, batch_size=len(data)),
        quantized_dtype="auto",
        quantize_mode="full",
    )
    return networks.sqnr(reference, networks.forward(*quantized, data=data)[0])


def main() -> None:
    """Print one line per network."""
    logging.disable(logging.WARNING)
    print(f"{'network':<18}{'stock dB':>10}{'mxquant dB':>12}")
    for name in sys.argv[1:] or networks.ZOO:
        stock, ours = compare(name)
        print(f"{name:<18}{stock:>10.1f}{ours:>12.1f}", flush=True)


if __name__ == "__main__":
    main()
