"""One int8 network at every level of instructions that this CPU has: are the numbers the same?

::

    python -m tests.benchmark.levels [NETWORK ...] [--out FILE]

Each network is planned once as 'portable', and once for each level alone. Every level runs in a process of its own. The
SQNR is that of the outputs against fp32, on data that were not calibrated on. Codes are compared layer by layer: each
int8 layer gets the data that it has at the lowest level, and its codes there are counted that it has here too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import numpy as np

import mxquant
from mxquant.graph.heads import Heads
from mxquant.model import load
from mxquant.runtime.forward import at_heads, takes_any_batch
from mxquant.runtime.mxnet import mx
from tests import networks
from tests.benchmark.machine import described, machine
from tests.families.small import SMALL, built
from tests.levels import available, environment

HERE = Path(__file__).parent
ZOO = ("resnet18_v1", "resnet50_v1", "mobilenetv2_1.0", "squeezenet1.0")
LITE0 = {"EfficientNet-Lite0": "fast", "EfficientNet-Lite0, balanced": "balanced"}
NETWORKS = (*LITE0, *ZOO, *SMALL)
HEAD = ("network", "portable, dB", "between levels, dB", "plan for the level, dB", "codes equal", "fewest", "in")


def material(name: str) -> Tuple[Any, Dict[str, Any], Dict[str, Any], np.ndarray, np.ndarray, str]:
    """Return a network with its parameters, data to calibrate on, data to judge by, and the preset."""
    if name in SMALL:
        symbol, args, aux, data = built(name)
        half = len(data) // 2
        if not half or not takes_any_batch(load(symbol, args, aux).canonical.network, {"data": data}):
            return symbol, args, aux, data, data, "fast"
        return symbol, args, aux, data[:half], data[half:], "fast"
    from tests.benchmark.material import CALIBRATION, Preprocessing, embedded, lite0

    images = embedded(Preprocessing(mean=(127,) * 3, std=(128,) * 3)).images
    seen, unseen = images[:CALIBRATION], images[CALIBRATION:]
    net = lite0() if name in LITE0 else networks.zoo_network(name, seen)
    return (*net, seen, unseen, LITE0.get(name, "fast"))


def measured(name: str, levels: Sequence[str]) -> Dict[str, Any]:
    """Return what a network has at each level: see :mod:`tests.benchmark.levels_worker`."""
    symbol, args, aux, seen, unseen, preset = material(name)
    params = {"arg_params": args, "aux_params": aux}
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/net"
        mx.model.save_checkpoint(prefix, 0, symbol, args, aux)
        canonical = load(symbol, args, aux).canonical.network
        exact, given = at_heads(canonical, Heads.of(canonical), {"data": unseen})
        np.savez(f"{folder}/exact.npz", *exact)
        np.savez(f"{folder}/given.npz", **given)
        statistics = mxquant.calibrate(symbol, seen, **params)
        for isa in ("portable", *levels):
            model = mxquant.quantize(symbol, seen, accuracy=preset, statistics=statistics, isa=isa, **params)
            model.save(f"{folder}/{isa}")
        command = [sys.executable, "-m", "tests.benchmark.levels_worker", folder]
        found = {
            level: json.loads(subprocess.check_output([*command, level], env=environment(level), cwd=HERE.parents[1]))
            for level in levels
        }
    return found


def row(name: str, found: Dict[str, Any]) -> Tuple[str, ...]:
    """Return a line of the table."""
    portable = [each["portable"] for each in found.values()]
    gaps = [each["own"] - each["portable"] for each in found.values()]
    shares = {
        (layer, level): share for level, each in found.items() for layer, share in each["codes"].items() if share < 1
    }
    least = min(shares, key=lambda key: shares[key], default=None)
    every = [share for each in found.values() for share in each["codes"].values()]
    return (
        name,
        " / ".join(f"{value:.1f}" for value in portable),
        f"{max(portable) - min(portable):.2f}",
        " / ".join(f"{each['own']:.1f}" for each in found.values()) + f" (at most {max(gaps):.1f} more)",
        f"{np.mean(every):.3%}" if every else "-",
        "all" if least is None else f"{shares[least]:.2%}",
        "" if least is None else f"{least[0]}, {least[1]}",
    )


def table(names: Sequence[str]) -> str:
    """Return what was measured as Markdown."""
    levels = list(available())
    lines: List[Tuple[str, ...]] = [HEAD, ("---",) * len(HEAD)]
    for name in names:
        lines.append(row(name, measured(name, levels)))
        print(" | ".join(lines[-1]), flush=True)
    about = f"{described(machine())} Levels, in this order: {', '.join(levels)}."
    return "\n".join([about, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description="Run int8 networks at every level of instructions.")
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "levels.md", metavar="FILE")
    chosen = parser.parse_args()
    chosen.out.write_text(table(chosen.networks), encoding="utf-8")
