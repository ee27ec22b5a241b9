"""What calibration costs on a cluster, measured on this machine and continued on paper.

::

    python -m tests.benchmark.distributed [--network NAME] [--images N ...] [--workers N ...] [--out FOLDER]

Photographs in files are decoded, cut and run by worker processes with one thread each. The seconds T of n images on w
workers are fitted by

    T = a + b · n / w

a is what every run costs: sending and loading the network, and merging. What one merging costs, and the bytes of
statistics, are measured alone: with s images in a shard, n / s results are merged, and a sixteenth of them come to the
process that began the run. Writes distributed.md.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from distributed import Client, LocalCluster

import mxquant
from mxquant.datasets import ImageFiles, Preprocessing
from mxquant.distributed import calibrate
from tests.benchmark.machine import described, machine, peak_memory
from tests.benchmark.material import LITE0, _photos, lite0
from tests.networks import images, zoo_network

__all__ = ["main"]

IMAGENET = 1_281_167
WORKERS = (1, 8, 32, 128)
SHARD, GROUP = 512, 16


def network(name: str) -> Tuple[Any, Dict[str, Any]]:
    symbol, args, aux = lite0() if name == LITE0 else zoo_network(name, images(2, 3, 224, 224))
    return symbol, {"arg_params": args, "aux_params": aux}


def photographs(count: int) -> ImageFiles:
    """Return photographs, each as often as is needed."""
    paths = _photos()
    files = [(paths[number % len(paths)], None) for number in range(count)]
    return ImageFiles(files, Preprocessing(224, (127.0,) * 3, (128.0,) * 3), 32)


def measure(name: str, counts: Sequence[int], workers: Sequence[int], rounds: int) -> Dict[str, Any]:
    """Return seconds by workers and images, peak memory of workers, and what merging costs."""
    symbol, params = network(name)
    load = os.getloadavg()[0]
    seconds: Dict[Tuple[int, int], float] = {}
    memory: Dict[Tuple[int, int], float] = {}
    found: List[mxquant.Statistics] = []
    for number in workers:
        options = {"n_workers": number, "threads_per_worker": 1, "dashboard_address": ":0"}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            client.wait_for_workers(number)
            calibrate(client, symbol, photographs(32 * number), **params)
            for count in sorted(counts):
                times = []
                for _ in range(rounds):
                    begin = time.perf_counter()
                    found.append(calibrate(client, symbol, photographs(count), **params))
                    times.append(time.perf_counter() - begin)
                seconds[number, count] = float(np.median(times))
                memory[number, count] = max(client.run(peak_memory).values())
    begin = time.perf_counter()
    merged = found[0] + found[-1]
    merging = time.perf_counter() - begin
    begin = time.perf_counter()
    size = len(pickle.dumps(merged))
    merging += time.perf_counter() - begin
    return {"seconds": seconds, "memory": memory, "merging": merging, "bytes": size, "load": load}


def fitted(seconds: Dict[Tuple[int, int], float]) -> Tuple[float, float]:
    """Return a and b of T = a + b · n / w, of least squared relative error."""
    rows = np.array([[1.0, count / workers] for workers, count in seconds])
    times = np.array(list(seconds.values()))
    (a, b), *_ = np.linalg.lstsq(rows / times[:, None], np.ones(len(times)), rcond=None)
    return max(0.0, float(a)), float(b)


def estimated(a: float, b: float, merging: float, count: int, workers: int) -> float:
    """Return the seconds of a run: the workers', or those of the process that began it, if that has more to do."""
    shards = math.ceil(count / SHARD)
    theirs = b * count / workers + merging * shards / workers
    return a + max(theirs, merging * math.ceil(shards / GROUP))


def markdown(name: str, found: Dict[str, Any]) -> str:
    """Return what was measured, and what follows, as tables."""
    a, b = fitted(found["seconds"])
    lines = [f"{described(machine())} {found['load']:.1f} other processes wanted to run when it began, on average.", ""]
    lines += [f"{name}, photographs of any size in files, one thread for each worker.", ""]
    lines += ["| workers | images | seconds | model | memory of a worker |", "|---|---|---|---|---|"]
    for (workers, count), seconds in found["seconds"].items():
        model, memory = a + b * count / workers, found["memory"][workers, count]
        lines.append(f"| {workers} | {count} | {seconds:.1f} | {model:.1f} | {memory:.0f} MB |")
    lines += [
        "",
        f"T = {a:.1f} s + {1e3 * b:.1f} ms · images / workers. Statistics have {found['bytes'] / 1e6:.1f} MB; to merge "
        f"two and to pack the result takes {1e3 * found['merging']:.0f} ms.",
        "",
        f"On paper, for the {IMAGENET:,} images of ImageNet's training set, with a core like these for each worker:",
        "",
        "| workers | hours |",
        "|---|---|",
    ]
    lines += [f"| {n} | {estimated(a, b, found['merging'], IMAGENET, n) / 3600:.2g} |" for n in WORKERS]
    return "\n".join([*lines, ""])


def main(words: Optional[Sequence[str]] = None) -> int:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default=LITE0, help="one of the zoo; default: %(default)s")
    parser.add_argument("--images", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many runs counts")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder; default: %(default)s")
    options = parser.parse_args(words)
    table = markdown(options.network, measure(options.network, options.images, options.workers, options.rounds))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "distributed.md").write_text(table, encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
