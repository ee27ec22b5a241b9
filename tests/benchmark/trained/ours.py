"""Quantizes one trained network by mxquant: ``python -m tests.benchmark.trained.ours ONNX DATA.npz BATCH OUT PRESET``.

Runs in MXNet's environment. Writes the int8 network as ONNX and prints the seconds that it took, reading included.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

import mxquant


def main() -> None:
    """Do what the command line says."""
    file, data, batch, out, accuracy = sys.argv[1:]
    with np.load(data) as arrays:
        inputs = dict(arrays)
    start = time.perf_counter()
    shapes = {name: (int(batch), *value.shape[1:]) for name, value in inputs.items()}
    symbol, arg_params, aux_params = mxquant.from_onnx(file, input_shapes=shapes)
    model = mxquant.quantize(
        symbol,
        next(iter(inputs.values())) if len(inputs) == 1 else inputs,
        arg_params=arg_params,
        aux_params=aux_params,
        target="onnx_qdq",
        accuracy=accuracy,
    )
    model.save(out)
    print(json.dumps({"seconds": time.perf_counter() - start, "layers": model.plan.summary}))


if __name__ == "__main__":
    main()
