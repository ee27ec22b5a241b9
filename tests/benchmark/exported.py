"""What mxquant exports, in ONNX Runtime and OpenVINO, beside what their own tools make of the same network.

::

    python -m tests.benchmark.exported [--networks NET ...] [--accuracy fast|balanced|best] [--json FILE]

Both int8 files and fp32 take turns in one process, with two threads, on batches of eight; calibration is on ten images,
SQNR that of logits of eight others against fp32 in the same runtime. In OpenVINO every multiplication of mxquant's has
to be in int8, by the graph that it executed, or the benchmark fails. ``ONEDNN_MAX_CPU_ISA=AVX2`` and ``--isa avx2``
measure OpenVINO on a CPU without VNNI.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence

import numpy as np

import mxquant
from mxquant.runtime.mxnet import mx
from tests.benchmark import material
from tests.benchmark.accuracy_rows import PEERS
from tests.benchmark.peers.environment import peers_python
from tests.networks import sqnr

__all__ = ["everything"]

NETWORKS = ("resnet50_v1", "mobilenetv2_1.0", material.LITE0)
RUNTIMES = ("onnxruntime", "openvino")
HEAD = "network             runtime      fp32 ms  theirs ms  ours ms  theirs/ours  theirs dB  ours dB"


def everything(networks: Sequence[str], accuracy: str, isa: Optional[str] = None) -> Iterator[Dict[str, Any]]:
    """Yield seconds and SQNR of each network in each runtime."""
    python = peers_python()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material.prepare(networks, folder, python, crops=0)
        with np.load(folder / "data.npz") as data:
            calibration = data["calibration"]
        for network in networks:
            symbol, args, aux = mx.model.load_checkpoint(str(folder / network), 0)
            options = {"arg_params": args, "aux_params": aux, "accuracy": accuracy, "isa": isa}
            model = mxquant.quantize(symbol, calibration, target="onnx_qdq", **options)
            model.save(folder / f"{network}-qdq.onnx")
            for runtime in RUNTIMES:
                yield {"network": network, "runtime": runtime, **_measure(python, folder, network, runtime)}


def _measure(python: str, folder: Path, network: str, runtime: str) -> Dict[str, Any]:
    files = {"--prefix": folder / network, "--data": folder / "data.npz", "--out": folder / "out"}
    arguments = [str(part) for pair in files.items() for part in pair]
    command = [python, str(PEERS / "exported.py"), "--option", runtime, *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{network} in {runtime}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    seconds = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    with np.load(folder / "out.npz") as logits:
        levels = {name: sqnr(logits["fp32"], logits[name]) for name in ("theirs", "ours")}
    return {"seconds": seconds, "sqnr": levels}


def main() -> None:
    """Print one line for each network and runtime."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmark.exported", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NET", help="default: three")
    parser.add_argument("--accuracy", default="balanced", choices=("fast", "balanced", "best"))
    parser.add_argument("--isa", help="what to plan for; default: this CPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    options = parser.parse_args()
    print(HEAD)
    rows = []
    for row in everything(options.networks, options.accuracy, options.isa):
        rows.append(row)
        fp32, theirs, ours = (1e3 * row["seconds"][name] for name in ("fp32", "theirs", "ours"))
        levels = row["sqnr"]
        print(
            f"{row['network']:<20}{row['runtime']:<12}{fp32:>8.1f}{theirs:>11.1f}{ours:>9.1f}{theirs / ours:>13.2f}"
            f"{levels['theirs']:>11.1f}{levels['ours']:>9.1f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
