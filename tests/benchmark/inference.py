"""Inference time of int8 networks in MXNet: fp32 as the user has it, the stock tool's int8, and mxquant's, in turns.

::

    python -m tests.benchmark.inference [--networks NET ...] [--batches N ...] [--threads N ...] [--json FILE]

Every network gets random images of its own size. fp32 is the user's symbol with MXNet's own fusion. The stock tool
runs in a process of its own, since it corrupts memory; what it made is loaded. For each network, batch and number of
threads all three run in turns in one process, and medians are compared: the columns are milliseconds for a batch, and
ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Dict, Iterator, List, Optional, Sequence

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

import mxquant
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment
from tests import networks
from tests.benchmark.material import LITE0, lite0
from tests.benchmark.turns import in_turns
from tests.benchmark.worker import call

NETWORKS = (
    *("resnet18_v1", "resnet50_v1", "resnet50_v2", "mobilenet1.0", "mobilenetv2_1.0"),
    *("inceptionv3", "densenet121", "squeezenet1.0", LITE0),
)
SIZES = {"inceptionv3": 299}
KINDS = ("fp32", "stock", "mxquant")
HEAD = "network              batch threads  fp32 ms stock ms  ours ms  fp32/ours  stock/ours"
STOCK = """
import sys, warnings
warnings.simplefilter("ignore")
import mxquant
import mxnet as mx, numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn
prefix = sys.argv[1]
data = mx.io.NDArrayIter({"data": np.load(prefix + "-data.npy")}, batch_size=8)
net = quantize_model_mkldnn(*mx.model.load_checkpoint(prefix, 0), label_names=None, calib_mode="naive",
                            calib_data=data, quantized_dtype="auto", quantize_mode="smart")
mx.model.save_checkpoint(prefix + "-stock", 0, *net)
"""


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NET", help="default: nine")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], metavar="N", help="default: 1 8")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="default: 15")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there")
    return parser.parse_args(arguments)


def prepare(name: str, folder: Path) -> None:
    """Write a network in fp32 and in both int8 forms."""
    size = SIZES.get(name, 224)
    data = networks.images(8, 3, size, size)
    prefix = str(folder / name)
    np.save(f"{prefix}-data.npy", data)
    net = lite0() if name == LITE0 else networks.zoo_network(name, data)
    mx.model.save_checkpoint(prefix, 0, *net)
    subprocess.run([sys.executable, "-c", STOCK, prefix], check=True, capture_output=True)
    batches = mx.io.NDArrayIter({"data": data}, batch_size=8)
    symbol, args, aux = net
    options = {"arg_params": args, "aux_params": aux, "accuracy": "fast", "method": "minmax"}
    mxquant.quantize(symbol, batches, **options).save(f"{prefix}-mxquant")


def measure(name: str, folder: str, batch: int, rounds: int) -> Dict[str, List[float]]:
    """Return the seconds of each round for each kind of network, with the threads that this process has."""
    data = np.load(Path(folder) / f"{name}-data.npy")
    images = mx.nd.array(np.resize(data, (batch, *data.shape[1:])))
    executors = {}
    for kind in KINDS:
        prefix = str(Path(folder) / name) + ("" if kind == "fp32" else f"-{kind}")
        symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
        with environment(MXNET_SUBGRAPH_BACKEND="MKLDNN" if kind == "fp32" else "NONE"):
            executors[kind] = symbol.bind(mx.cpu(), {**args, "data": images}, aux_states=aux, grad_req="null")
    return in_turns({kind: partial(_forward, executor) for kind, executor in executors.items()}, rounds, unmeasured=2)


def _forward(executor: Any) -> None:
    for output in executor.forward(is_train=False):
        output.wait_to_read()


def everything(
    names: Sequence[str], batches: Sequence[int], threads: Sequence[int], rounds: int
) -> Iterator[Dict[str, Any]]:
    """Yield the seconds of each network, batch and number of threads."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            prepare(name, Path(folder))
            for batch, count in product(batches, threads):
                seconds = call("inference:measure", name, folder, batch, rounds, threads=count)
                yield {"network": name, "batch": batch, "threads": count, **seconds}


def main() -> None:
    """Print one line for each network, batch and number of threads."""
    options = parse()
    print(HEAD)
    rows: List[Dict[str, Any]] = []
    for row in everything(options.networks, options.batches, options.threads, options.rounds):
        rows.append(row)
        print(_line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _line(row: Dict[str, Any]) -> str:
    fp32, stock, ours = (1e3 * median(row[kind]) for kind in KINDS)
    ratios = f"{fp32 / ours:>11.2f}{stock / ours:>11.2f}"
    return f"{row['network']:<20}{row['batch']:>6}{row['threads']:>8}{fp32:>9.1f}{stock:>9.1f}{ours:>9.1f}{ratios}"


if __name__ == "__main__":
    main()
