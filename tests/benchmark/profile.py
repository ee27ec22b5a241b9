"""Where the time goes: inference by kind of operator, and calibration by part.

::

    python -m tests.benchmark.profile [--networks NET ...] [--batch N] [--out FILE]

Inference: a monitor waits for every operator of fp32 with MXNet's fusions, the stock tool's int8 and mxquant's, which
take turns. What that adds to each operator, some 20 to 80 microseconds, is in the figures. Calibration: MXNet waits
while a tensor is copied and counted, so that the parts add up.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, ClassVar, Dict, List, Optional, Sequence

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

import mxquant
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, environment, graph_of
from mxquant.stats import runner
from tests.benchmark import inference
from tests.benchmark.calibration import BATCH
from tests.benchmark.machine import described, machine
from tests.benchmark.turns import in_turns
from tests.networks import images, zoo_network

ROUNDS = 7
KINDS = {
    "convolution": ("Convolution", "_sg_mkldnn_conv"),
    "fully connected": ("FullyConnected", "_sg_mkldnn_fully_connected"),
    "pooling": ("Pooling", "_contrib_quantized_pooling"),
    "concat": ("Concat", "_contrib_quantized_concat"),
    "addition, activation, BatchNorm": (
        *("elemwise_add", "broadcast_add", "_contrib_quantized_elemwise_add", "Activation", "clip", "BatchNorm"),
        *("_contrib_quantized_act", "_contrib_quantized_batch_norm", "LeakyReLU"),
    ),
    "pad": ("Pad",),
    "conversion": ("_contrib_quantize_v2", "_contrib_dequantize", "_contrib_requantize"),
}


class Watched:
    """A network bound to a batch, each of whose operators is timed.

    Parameters
    ----------
    symbol, args, aux
        The network, run as it is.
    data : numpy.ndarray
        The batch.
    """

    def __init__(self, symbol: Any, args: Dict[str, Any], aux: Dict[str, Any], data: np.ndarray) -> None:
        with environment(MXNET_SUBGRAPH_BACKEND="NONE"):
            self.executor = symbol.bind(mx.cpu(), {**args, "data": mx.nd.array(data)}, aux_states=aux, grad_req="null")
        self.ops = {node.name: node.op for node in graph_of(symbol).operators}
        self.runs: Dict[str, List[float]] = defaultdict(list)
        self.last = 0.0
        for _ in range(2):
            self.executor.forward(is_train=False)[0].wait_to_read()
        self.executor.set_monitor_callback(self._observe)

    def _observe(self, name: bytes, handle: Any) -> None:
        mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False).wait_to_read()
        now = perf_counter()
        self.runs[name.decode()].append(now - self.last)
        self.last = now

    def forward(self) -> None:
        """Run a batch."""
        self.last = perf_counter()
        self.executor.forward(is_train=False)[0].wait_to_read()

    def seconds(self) -> Dict[str, float]:
        """Return the seconds by kind of operator, each output's the median of its rounds."""
        kind_of = {op: kind for kind, ops in KINDS.items() for op in ops}
        total: Dict[str, float] = defaultdict(float)
        for output, times in self.runs.items():
            # An output is called after its node; the longest name that fits is the node's.
            node = max((name for name in self.ops if output.startswith(f"{name}_")), key=len)
            total[kind_of.get(self.ops[node], "other")] += median(times)
        return dict(total)


def inference_profile(name: str, batch: int, folder: Path) -> Dict[str, Dict[str, float]]:
    """Return seconds by kind of operator, for each kind of network; they take turns."""
    inference.prepare(name, folder)
    data = np.load(folder / f"{name}-data.npy")[:batch]
    watched = {}
    for kind in inference.KINDS:
        prefix = str(folder / name) + ("" if kind == "fp32" else f"-{kind}")
        symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
        symbol = backend_symbol(symbol, "MKLDNN") if kind == "fp32" else symbol
        watched[kind] = Watched(symbol, args, aux, data)
    in_turns({kind: each.forward for kind, each in watched.items()}, ROUNDS, unmeasured=0)
    return {kind: each.seconds() for kind, each in watched.items()}


class _Session(runner._Session):
    """A calibration that notes when each of its parts ends."""

    spent: ClassVar[Dict[str, float]] = {}
    last: ClassVar[float] = 0.0

    def _copied(self, array: Any) -> Any:
        self.tick("forward")
        array.wait_to_read()
        self.tick("forward")
        copy = super()._copied(array)
        self.tick("copy")
        return copy

    def _observe(self, name: bytes, handle: Any) -> None:
        super()._observe(name, handle)
        self.tick("count")

    def forward(self, batch: Any, number: int) -> None:
        self.tick("load, data")
        super().forward(batch, number)
        self.tick("forward")

    def tick(self, part: str) -> None:
        now = perf_counter()
        _Session.spent[part] = _Session.spent.get(part, 0.0) + now - _Session.last
        _Session.last = now


def calibration_profile(name: str, count: int) -> Dict[str, float]:
    """Return the seconds of calibration and of its parts; the first run does not count."""
    data = images(count, 3, 224, 224)
    symbol, args, aux = zoo_network(name, data[:BATCH])
    params = {"arg_params": args, "aux_params": aux}
    original = runner._Session
    runner._Session = _Session  # type: ignore[misc]
    try:
        for _ in range(2):
            _Session.spent = {}
            _Session.last = perf_counter()
            statistics = mxquant.calibrate(symbol, mx.io.NDArrayIter(data, batch_size=BATCH), target="onednn", **params)
            called = perf_counter()
            mxquant.make_plan(symbol, statistics, method="entropy", **params)
            end = perf_counter()
    finally:
        runner._Session = original  # type: ignore[misc]
    return {**_Session.spent, "plan": end - called, "rest": called - _Session.last}


def markdown(profiles: Dict[str, Dict[str, Dict[str, float]]], batch: int, parts: Dict[str, float], count: int) -> str:
    """Return both profiles as tables."""
    title = f"Milliseconds of a batch of {batch} by kind of operator: fp32 / stock int8 / mxquant int8."
    lines = [described(machine()), "", title, ""]
    columns = [*KINDS, "other", "all"]
    lines += [f"| network | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for name, kinds in profiles.items():
        cells = []
        for column in columns:
            seconds = [
                sum(each.values()) if column == "all" else each.get(column, 0.0)
                for each in (kinds[kind] for kind in inference.KINDS)
            ]
            cells.append(" / ".join(f"{1e3 * s:.1f}" for s in seconds) if any(seconds) else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"Entropy calibration of resnet50_v1 over {count} images, {sum(parts.values()):.2f} s:", ""]
    lines += ["| part | seconds |", "| --- | --- |", *(f"| {part} | {s:.2f} |" for part, s in parts.items())]
    return "\n".join(lines) + "\n"


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmark.profile", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--networks", nargs="+", default=list(inference.NETWORKS), metavar="NET", help="default: nine")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N", help=f"of inference; default: {BATCH}")
    parser.add_argument("--images", type=int, default=64, metavar="N", help="of calibration; default: 64")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables there")
    return parser.parse_args(arguments)


def main() -> None:
    """Print both profiles."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        profiles = {name: inference_profile(name, options.batch, Path(folder)) for name in options.networks}
    text = markdown(profiles, options.batch, calibration_profile("resnet50_v1", options.images), options.images)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
