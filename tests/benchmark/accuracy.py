"""Accuracy and speed of int8 networks: MXNet's own tool, mxquant, ONNX Runtime and OpenVINO NNCF, all in one run.

::

    python -m tests.benchmark.accuracy [--networks NET ...] [--methods TOOL ...] [--isa avx2] [--json FILE]

To repeat it: in the environment that ci/test.sh makes, with nothing else running on the machine. The first run installs
the peers into .venv-peers, which takes a Python of 3.11 or later. Nothing is kept of a run: every number is measured
again. ``--methods mxquant`` runs only our rows, ``--crops 0`` leaves the crops out.

Networks: EfficientNet-Lite0 with its ImageNet weights, which is protocol E1, and three of the Gluon zoo with random
weights. Calibrated on the embedded ImageNet images 00-09, evaluated on 10-19.

==========  ============================================================================================================
column      meaning
==========  ============================================================================================================
SQNR dB     10 log10(sum y^2 / sum (y - y')^2) of the int8 logits y' against y, the fp32 network's in the same engine
top-1       images whose best class is that of the same fp32 network
crops       the same over crops of photographs that were not calibrated on (crops.py); EfficientNet-Lite0 only
int8 MACs   share of the multiplications of convolutions and dense layers that run in int8: of the compiled network in
            OpenVINO, of the optimized graph in ONNX Runtime, of the int8 symbol in MXNet
quantize s  the tool's call, calibration included, without imports and the reading of files
fp32 s      seconds per batch of 10 in the same engine and process, median of 11, in turns with int8; 2 threads for all
int8 s      the same for the int8 network
==========  ============================================================================================================

``--isa`` lowers what oneDNN may use, in MXNet and in OpenVINO. ONNX Runtime has no such switch: MLAS asks the CPU. Its
rows say 'this CPU', and on a CPU with VNNI they do not show the saturation that u8s8 has on one without. OpenVINO is
told to compute fp32 in float32. Rows are processes of their own, since the stock tool corrupts memory; it is tried
again when that kills it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import List, Optional, Sequence

os.environ["OMP_NUM_THREADS"] = "2"  # before MXNet is imported

from tests.benchmark.accuracy_rows import ONEDNN, ROWS, Result, Row, measure
from tests.benchmark.accuracy_table import print_table
from tests.benchmark.material import NETWORKS, prepare
from tests.benchmark.peers.environment import peers_python

HEAD = """\
Calibrated on images 00-09, evaluated on 10-19. SQNR and agreement are of the int8 logits against those of the same
fp32 network in the same engine. Seconds are per batch of 10, 2 threads."""


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="default: all")
    parser.add_argument("--methods", nargs="+", help="beginnings of row titles, such as mxquant; default: all")
    parser.add_argument("--isa", choices=list(ONEDNN), help="what oneDNN may use; default: all that this CPU has")
    parser.add_argument("--crops", type=int, default=32, metavar="N", help="crops per photograph; 0: none; default: 32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    options = parser.parse_args(arguments)
    options.rows = _rows(options.methods)
    if not options.rows:
        parser.error(f"--methods: no row begins so; there are {', '.join(row.title for row in ROWS)}")
    return options


def _rows(methods: Optional[Sequence[str]]) -> List[Row]:
    return [row for row in ROWS if methods is None or row.title.startswith(tuple(methods))]


def main() -> None:
    """Print one table per network."""
    options = parse()
    peers = peers_python()
    results: List[Result] = []
    print(HEAD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(options.networks, folder, peers, options.crops)
        for network in options.networks:
            lines = (
                measure(row, network, folder, options.isa, sys.executable if row.runs_in_mxnet else peers)
                for row in options.rows
            )
            results += print_table(network, lines)
    if options.json:
        document = [asdict(result) for result in results]
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
