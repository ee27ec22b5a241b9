"""Random ONNX graphs by the thousand: MXNet computes what ONNX Runtime does, or from_onnx refuses them by name.

::

    python -m tests.soak.random_onnx --count 1000 --seed 0 --json FILE

Graphs are run in processes of their own, so that one that dies is counted and another goes on. Graphs that ONNX Runtime
does not take are left out. A part of them leave lengths of their input free. Exits with 1 where anything is different.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import onnx

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import forward
from tests.onnx_export.runtimes import in_onnxruntime
from tests.soak.onnx_graphs import Graph, random_graph

__all__ = ["check", "main"]

AGREES, REFUSED, INVALID, DIFFERENT, RAISED, DIED = "agrees", "refused", "invalid", "different", "raised", "died"
_SECONDS = 120.0


def check(seed: int, folder: Path) -> Tuple[str, str]:
    """Return what comes of a random graph, and what is said of it."""
    graph = random_graph(seed)
    data, outputs = graph.data(), graph.outputs()
    if not outputs:
        return INVALID, "nothing"
    model = graph.model(outputs, _free(graph))
    try:
        expected = in_onnxruntime(model, optimized=False, **data)
    except Exception as error:  # ONNX Runtime has an error for each of its reasons
        return INVALID, str(error)[:200]
    onnx.save(model, str(folder / "net.onnx"))
    try:
        network = mxquant.from_onnx(folder / "net.onnx")
    except mxquant.MXQuantError as error:
        return REFUSED, str(error)
    except BaseException as error:
        return RAISED, f"from_onnx: {error!r}"
    given = {name: value for name, value in data.items() if name in network.symbol.list_inputs()}
    try:
        found = forward(*network, **given)
    except mx.MXNetError as error:
        return RAISED, f"MXNet: {str(error)[:400]}"
    for name, a, b in zip(outputs, found, expected):
        b = np.asarray(b, np.float32)
        if a.shape != (b.shape or (1,)):
            return DIFFERENT, f"'{name}' has the shape {a.shape}, expected {b.shape}"
        size = np.abs(b[np.isfinite(b)]).max() if np.isfinite(b).any() else 1.0
        if not np.allclose(a, b.reshape(a.shape), rtol=1e-3, atol=1e-4 * max(float(size), 0.1), equal_nan=True):
            return DIFFERENT, f"'{name}' differs by {np.nanmax(np.abs(a - b.reshape(a.shape)))} of {size}"
    return AGREES, ""


def _free(graph: Graph) -> List[int]:
    """Return axes whose lengths a file leaves open: none in most, the first in many."""
    kind = graph.rng.rand()
    if kind < 0.6 or not graph.inputs[0].shape:
        return []
    return [0] if kind < 0.9 else [axis for axis in range(graph.inputs[0].rank) if graph.chance(0.5)]


def _share(numbers: Sequence[int]) -> List[Dict[str, Any]]:
    """Return the outcomes of some graphs, from as many processes as it takes."""
    found: List[Dict[str, Any]] = []
    while len(found) < len(numbers):
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journal"
            left = [str(number) for number in numbers[len(found) :][:500]]
            command = [sys.executable, "-W", "ignore", "-m", "tests.soak.random_onnx", "--child", str(journal), *left]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "MXNET_SUBGRAPH_VERBOSE": "0"}
            child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _wait(child, journal)
            lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
        done = [json.loads(line) for line in lines]
        found += done
        if len(done) < len(left):
            found.append({"seed": numbers[len(found)], "outcome": DIED, "said": f"process {child.returncode}"})
    return found


def _wait(child: subprocess.Popen[bytes], journal: Path) -> None:
    """Wait for a process; end it if it writes nothing for long."""
    size, since = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(0.05)
        now = journal.stat().st_size if journal.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > _SECONDS:
            child.kill()
            child.wait()


def _child(journal: str, numbers: Sequence[str]) -> None:
    with open(journal, "w", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            outcome, said = check(int(number), Path(folder))
            print(json.dumps({"seed": int(number), "outcome": outcome, "said": said}), file=file, flush=True)


def summary(found: Sequence[Dict[str, Any]], seconds: float) -> Dict[str, Any]:
    """Return what came out, in numbers; others than agreement, refusal and what is no graph with their seeds."""
    refused = Counter(
        re.sub(r"'[^']*'|-?\d+(\.\d+)?", "…", each["said"])[:100] for each in found if each["outcome"] == REFUSED
    )
    wrong = [each for each in found if each["outcome"] not in (AGREES, REFUSED, INVALID)]
    return {
        "graphs": len(found),
        "outcomes": dict(Counter(each["outcome"] for each in found)),
        "refused": dict(refused.most_common()),
        "wrong": wrong,
        "seconds": round(seconds),
    }


def main(arguments: Sequence[str]) -> int:
    """Run graphs, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--processes", type=int, default=1, help="at once")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        _child(chosen.child[0], chosen.child[1:])
        return 0
    begin = time.monotonic()
    numbers = list(range(chosen.seed, chosen.seed + chosen.count))
    shares = [numbers[index :: chosen.processes] for index in range(chosen.processes)]
    with ThreadPoolExecutor(chosen.processes) as pool:
        found = [each for share in pool.map(_share, shares) for each in share]
    figures = summary(found, time.monotonic() - begin)
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures), encoding="utf-8")
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
