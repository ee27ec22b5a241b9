"""Networks that are more than classifiers, in int8 beside fp32: a table of what runs in int8, how near it is, how fast.

::

    pip install '.[examples-cv]'
    python -m tests.benchmark.families [--networks NET ...] [--out FILE]

Random weights, BatchNorm statistics of the data, calibration on the data that are scored: this measures the arithmetic
and the rewrite, not how well a threshold generalizes. SQNR at the heads (:mod:`mxquant.graph.heads`), as the CPU
computes them. Of a detector also: how many boxes int8 has of the 20 that fp32 is surest of, and fp32 of int8's
(:mod:`tests.families.boxes`); then the same of fp32 where nothing but its data is in 8 bits. Both networks take turns;
fp32 runs with MXNet's own fusions. Each network has a process of its own, with one thread unless OMP_NUM_THREADS says
something else.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import numpy as np

import mxquant
from mxquant.analysis.macs import layer_macs
from mxquant.analysis.turns import bound
from mxquant.graph import Network
from mxquant.graph.heads import Heads
from mxquant.graph.passes import canonicalize
from mxquant.plan import QuantPlan
from mxquant.runtime.forward import at_heads, outputs
from mxquant.runtime.mxnet import mx
from tests.benchmark.machine import described, machine
from tests.benchmark.reasons import reasons, table_of_reasons
from tests.benchmark.turns import in_turns
from tests.families.boxes import FoundAgain, detections, found_again
from tests.families.zoo import FAMILIES, loaded
from tests.networks import network_of, sqnr

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent
HEAD = (
    "family",
    "network, data",
    "int8 MACs",
    "heads: SQNR min / median",
    "boxes found again; with data in 8 bits",
    "fp32 / int8, ms",
    "times as fast",
)
ROUNDS = 5


def measured(name: str) -> Dict[str, Any]:
    """Return a row of the table, and what stays float32 in a network.

    Parameters
    ----------
    name : str
        One of :data:`tests.families.zoo.FAMILIES`.
    """
    symbol, args, aux, data = loaded(name)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    fp32, int8 = network_of(symbol, args, aux), network_of(model.symbol, model.arg_params, model.aux_params)
    executors = {"fp32": bound(fp32, {"data": data}, fused=True), "int8": bound(int8, {"data": data})}
    seconds = in_turns({side: lambda each=each: _run(each) for side, each in executors.items()}, ROUNDS)
    return {
        "family": FAMILIES[name].family,
        "network": name,
        "shape": list(data.shape),
        "macs": _share(canonicalize(fp32).network, model.plan, data),
        "heads": levels(canonicalize(fp32).network, int8, {"data": data}),
        "boxes": _boxes(executors, data) if FAMILIES[name].detects else {},
        "milliseconds": {side: 1e3 * median(found) for side, found in seconds.items()},
        "ratio": median([one / other for one, other in zip(seconds["fp32"], seconds["int8"])]),
        "float32": reasons(model.plan),
    }


def _run(executor: Any) -> None:
    for output in executor.forward(is_train=False):
        output.wait_to_read()


def _boxes(executors: Mapping[str, Any], data: NDArray[Any]) -> Dict[str, FoundAgain]:
    """Return which boxes int8 finds again, and fp32 where nothing is in 8 bits but its data."""
    fp32, int8 = (_detections(each) for each in executors.values())
    step = np.abs(data).max() / 127
    rounded = _detections(executors["fp32"], data=mx.nd.array(np.rint(data / step) * step))
    return {"int8": found_again(fp32, int8), "data": found_again(fp32, rounded)}


def _detections(executor: Any, **data: Any) -> NDArray[Any]:
    return detections([output.asnumpy() for output in executor.forward(is_train=False, **data)])


def levels(fp32: Network, int8: Network, inputs: Mapping[str, Any]) -> Dict[str, float]:
    """Return the SQNR in dB of each head of the canonical fp32 network in the int8 network, by name."""
    heads = Heads.of(fp32)
    expected, given = at_heads(fp32, heads, inputs)
    found = outputs(heads.judged(int8), given)
    return {tensor.name: sqnr(one, other) for tensor, one, other in zip(heads.tensors, expected, found)}


def _share(network: Network, plan: QuantPlan, data: Any) -> float:
    macs = layer_macs(network, {"data": data})
    int8 = {name for layer in plan.layers.values() if layer.precision == "int8" for name in layer.contains}
    return sum(count for name, count in macs.items() if name in int8) / sum(macs.values())


def table(rows: Sequence[Mapping[str, Any]], on: Mapping[str, Any]) -> str:
    """Return what was measured as Markdown."""
    lines: List[Sequence[str]] = [HEAD, ("---",) * len(HEAD)]
    for row in rows:
        values, speed = list(row["heads"].values()), row["milliseconds"]
        boxes = "; ".join("{} / {} of {}".format(*row["boxes"][side]) for side in ("int8", "data") if row["boxes"])
        shape = "x".join(map(str, row["shape"]))
        lines.append(
            (
                row["family"],
                f"{row['network']}, {shape}",
                f"{100 * row['macs']:.1f} %",
                f"{len(values)}: {min(values):.1f} / {median(values):.1f} dB",
                boxes,
                f"{speed['fp32']:.1f} / {speed['int8']:.1f}",
                f"{row['ratio']:.2f}",
            )
        )
    text = [
        f"{described(on)} {on['threads']} OpenMP threads.",
        "",
        *(f"| {' | '.join(line)} |" for line in lines),
        "",
        *table_of_reasons(rows),
    ]
    return "\n".join([*text, ""])


def main(arguments: Sequence[str]) -> None:
    """Measure each network in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description="Measure networks that are more than classifiers.")
    parser.add_argument("--networks", nargs="*", default=list(FAMILIES), choices=list(FAMILIES), metavar="NET")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "families.md", metavar="FILE")
    parser.add_argument("--one", metavar="NET", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    rows = []
    for name in options.networks:
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmark.families", "--one", name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr[-2000:]}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{name}: {rows[-1]['ratio']:.2f} times as fast", file=sys.stderr, flush=True)
    on = {**machine(), "threads": os.environ["OMP_NUM_THREADS"]}
    options.out.write_text(table(rows, on), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
