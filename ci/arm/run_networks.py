"""What stock MXNet returns for saved int8 networks: ``run_networks.py FOLDER RESULTS``, without mxquant.

It runs on the host and on the emulated processor alike. FOLDER is what make_networks.py has filled; RESULTS gets
``PREFIX.npz`` with all outputs of each network, or ``PREFIX.txt`` with the error.
"""

import json
import os
import platform
import sys
import time
import warnings

import numpy as np

if "bool" not in vars(np):
    np.bool = np.bool_  # MXNet 1.9 reads it; NumPy has had it no more since 1.24
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mxnet as mx


def outputs(prefix):
    """Return the outputs of a network for its input, as numpy.ndarray."""
    symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
    data = mx.nd.array(np.load(prefix + "-data.npy"))
    executor = symbol.bind(mx.cpu(), {**args, "data": data}, aux_states=aux, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def main(folder, results):
    """Run all networks."""
    with open(os.path.join(folder, "networks.json"), encoding="utf-8") as file:
        rows = json.load(file)["networks"]
    start = time.time()
    for row in rows:
        path = os.path.join(results, row["prefix"])
        try:
            np.savez(path + ".npz", *outputs(os.path.join(folder, row["prefix"])))
        except mx.MXNetError as error:
            with open(path + ".txt", "w", encoding="utf-8") as file:
                file.write(str(error))
    print(f"{platform.machine()}: {len(rows)} networks in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
