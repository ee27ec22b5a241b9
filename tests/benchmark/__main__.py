"""Speed, size and memory beside MXNet's own tool, ONNX Runtime and OpenVINO NNCF, in one run.

::

    python -m tests.benchmark [--sections SECTION ...] [--out FOLDER] [--rounds N]

To repeat it: in the environment that ci/bench.sh makes, with nothing else running on the machine. Writes speed.json
with every number, speed.md with the table, and speed.png. ``DNNL_MAX_CPU_ISA=AVX2`` measures a CPU without VNNI;
OpenVINO is told the same, ONNX Runtime cannot be.

===========  ===========================================================================================================
section      what is measured, with two threads unless said otherwise
===========  ===========================================================================================================
calibration  zoo resnet50_v1: fp32 forward passes, and calibration with entropy thresholds, over 16, 64 and 256 images
search       the entropy threshold of one tensor by number of bins; MXNet's C++ operator
memory       the largest resident memory of forward passes and of calibration, over few and over many images
tools        the whole quantization by entropy and int8 inference, ten images at once: all tools on three networks
inference    fp32 as the user has it, the stock tool's int8 and mxquant's: nine networks, batch 1 and 8, 1 and 2 threads
startup      files, their loading and the first forward pass
workers      one process with two threads, two with one each, and two with two each
===========  ===========================================================================================================

Times are medians; where two things are compared, they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "2")
if "DNNL_MAX_CPU_ISA" in os.environ:
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", os.environ["DNNL_MAX_CPU_ISA"])

from tests.benchmark import inference, material, report, startup
from tests.benchmark.accuracy_rows import MXNET, OPENVINO, ORT, Row, measure
from tests.benchmark.machine import machine
from tests.benchmark.peers.environment import peers_python
from tests.benchmark.worker import call

RESNET, MOBILENET = "resnet50_v1", "mobilenet0.25"
TOOLS = (
    Row("mxnet.contrib", MXNET, "stock-entropy"),
    Row("mxquant", MXNET, "fast-entropy"),
    Row("ONNX Runtime", ORT, "u8s8-entropy"),
    Row("OpenVINO NNCF", OPENVINO, "default"),
)
COMPARED = (RESNET, "mobilenetv2_1.0", material.LITE0)


def calibration(options: argparse.Namespace) -> Dict[str, Any]:
    """Return seconds by the number of images."""
    return {str(n): call("calibration:beside_forward", RESNET, n, 3 if n > 64 else 5) for n in (16, 64, 256)}


def search(options: argparse.Namespace) -> Dict[str, Any]:
    """Return seconds by the number of bins."""
    return {str(bins): call("search:entropy", bins, 7, bins < 10_000) for bins in (2001, 4001, 8001, 16_001, 24_001)}


def memory(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Return megabytes for few and for many images."""
    return [
        {
            "network": name,
            "images": count,
            **{
                kind: call("calibration:peak_megabytes", name, kind, count, size) for kind in ("forward", "calibration")
            },
        }
        for name, count, size in ((RESNET, 16, 224), (RESNET, 160, 224), (MOBILENET, 16, 96), (MOBILENET, 10_000, 96))
    ]


def tools(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Return what every tool needs for the three networks, once for each round."""
    python = peers_python()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        material.prepare(COMPARED, Path(folder), python, crops=0)
        for _ in range(options.rounds):
            for name in COMPARED:
                for row in TOOLS:
                    interpreter = sys.executable if row.runs_in_mxnet else python
                    result = measure(row, name, Path(folder), None, interpreter)
                    numbers = result.numbers or {"error": result.error}
                    found.append({"network": name, "tool": row.title, "sqnr": result.sqnr_db, **numbers})
    return found


def nine(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Return the seconds of inference of nine networks."""
    return list(inference.everything(inference.NETWORKS, (1, 8), (1, 2), 15))


def begin(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Return size, seconds of loading and of the first forward pass."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COMPARED:
            inference.prepare(name, Path(folder))
            prefix = f"{folder}/{name}"
            startup.write_compact(prefix)
            for _ in range(options.rounds):
                for kind in ("fp32", "stock", "mxquant", "compact"):
                    path = prefix if kind == "fp32" else f"{prefix}-{kind}"
                    times = call("startup:begin", path, f"{prefix}-data.npy", kind)
                    found.append({"network": name, "kind": kind, "megabytes": startup.megabytes(path), **times})
    return found


def workers(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Return images per second of one and of two processes."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        inference.prepare(RESNET, Path(folder))
        prefix = f"{folder}/{RESNET}"
        arguments = ("startup:forward_for", f"{prefix}-mxquant", f"{prefix}-data.npy", 10.0)
        for processes, threads in ((1, 1), (1, 2), (2, 1), (2, 2)):
            with ThreadPoolExecutor(processes) as pool:
                runs = list(pool.map(lambda _, n=threads: call(*arguments, threads=n), range(processes)))
            rate = sum(8 * len(run) / sum(run) for run in runs)
            found.append({"processes": processes, "threads": threads, "images_per_second": rate})
    return found


SECTIONS: Dict[str, Callable[[argparse.Namespace], Any]] = {
    "machine": lambda options: machine(),
    "calibration": calibration,
    "search": search,
    "memory": memory,
    "tools": tools,
    "inference": nine,
    "startup": begin,
    "workers": workers,
}


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS)[1:], default=list(SECTIONS)[1:])
    parser.add_argument("--out", type=Path, default=Path("build/benchmark"), help="default: build/benchmark")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of tools and startup; default: 3")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, keep the numbers after each section, and write the report."""
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "speed.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in ("machine", *options.sections):
        print(f"{name} ...", flush=True)
        results[name] = SECTIONS[name](options)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = report.markdown(results)
    (options.out / "speed.md").write_text(text, encoding="utf-8")
    report.plot(results, options.out / "speed.png")
    print(text)


if __name__ == "__main__":
    main()
