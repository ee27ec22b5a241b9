"""Networks of text in int8 beside fp32: a table of what runs in int8 and what does not, how near it is, and how fast.

::

    python -m tests.benchmark.text [--networks NET ...] [--out FILE]

Random weights. Calibration on the first batches, scored on the last, which was not calibrated on; of each output the
SQNR as this CPU computes it. Both networks take turns, with one thread; each has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any, Dict, List, Mapping, Sequence

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import mxquant
from mxquant.runtime.mxnet import mx
from tests.benchmark.machine import described, machine
from tests.benchmark.reasons import reasons, table_of_reasons
from tests.benchmark.turns import in_turns
from tests.families.text_networks import NETWORKS
from tests.networks import sqnr

HERE = Path(__file__).parent
HEAD = ("network, batch", "int8 MACs", "SQNR of the outputs", "fp32 / int8, ms", "times as fast", "quantize, s")
ROUNDS = 9


def measured(name: str) -> Dict[str, Any]:
    """Return a row of the table.

    Parameters
    ----------
    name : str
        One of :data:`tests.families.text_networks.NETWORKS`.
    """
    network = NETWORKS[name]()
    begin = time.perf_counter()
    model = mxquant.quantize(network.block, network.batches[:-1], accuracy="fast")
    seconds = time.perf_counter() - begin
    unseen = network.batches[-1]
    found = mxquant.compare(network.block, model.plan, [unseen])
    arrays = [mx.nd.array(value) for value in unseen]
    blocks = {"fp32": network.block, "int8": model.as_block()}
    for block in blocks.values():
        block.hybridize(static_alloc=True, static_shape=True)
    results = {side: _outputs(block, arrays) for side, block in blocks.items()}
    times = in_turns({side: lambda each=each: _outputs(each, arrays) for side, each in blocks.items()}, ROUNDS)
    return {
        "network": f"{name}, {'x'.join(map(str, unseen[0].shape))}",
        "macs": found.int8_macs,
        "sqnr": [sqnr(one, other) for one, other in zip(results["fp32"], results["int8"])],
        "milliseconds": {side: 1e3 * median(each) for side, each in times.items()},
        "ratio": median([one / other for one, other in zip(times["fp32"], times["int8"])]),
        "seconds": seconds,
        "float32": reasons(model.plan),
    }


def _outputs(block: Any, arrays: Sequence[Any]) -> List[Any]:
    made = block(*arrays)
    return [each.asnumpy() for each in (made if isinstance(made, (list, tuple)) else [made])]


def table(rows: Sequence[Mapping[str, Any]], on: Mapping[str, Any]) -> str:
    """Return what was measured as Markdown."""
    lines: List[Sequence[str]] = [HEAD, ("---",) * len(HEAD)]
    for row in rows:
        levels = ", ".join(f"{level:.1f}" for level in row["sqnr"])
        speed = row["milliseconds"]
        lines.append(
            (
                row["network"],
                f"{100 * row['macs']:.0f} %",
                f"{levels} dB",
                f"{speed['fp32']:.1f} / {speed['int8']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['seconds']:.0f}",
            )
        )
    text = [described(dict(on)), "", *(f"| {' | '.join(line)} |" for line in lines), "", *table_of_reasons(rows)]
    return "\n".join([*text, ""])


def main(arguments: Sequence[str]) -> None:
    """Measure each network in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description="Measure networks of text.")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS), metavar="NET")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "text.md", metavar="FILE")
    parser.add_argument("--one", metavar="NET", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        warnings.simplefilter("ignore")
        print(json.dumps(measured(options.one)))
        return
    rows = []
    for name in options.networks:
        command = [sys.executable, "-m", "tests.benchmark.text", "--one", name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr[-2000:]}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{name}: {rows[-1]['ratio']:.2f} times as fast", file=sys.stderr, flush=True)
    options.out.write_text(table(rows, machine()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
