"""Int8 networks for ci/arm.sh: small ones of many forms, planned for each kind of CPU, and what they should return.

``make_networks.py FOLDER``, from the root of the repository. FOLDER gets a checkpoint of MXNet's for each network, its
input as ``PREFIX-data.npy``, what the integer simulation returns for it as ``PREFIX-simulated.npz``, and
``networks.json``, a list of them. A network that is the same for several kinds of CPU is there once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np

import mxquant
from mxquant.files.params_file import read_params_file
from mxquant.lowering.isa import LEVELS, PORTABLE, detect, saturates
from tests.families import small
from tests.lowering import test_small_networks as constructions
from tests.networks import forward, images, zoo_network

ZOO = ("resnet18_v1", "mobilenet0.25", "mobilenetv2_0.25")
# What computes the results of these from int8 is float32: the last bits are those of the compiler.
FLOAT32_ENDS = ("SSD, anchors as parameters", "Faster R-CNN", "DeepLab")


def networks() -> Iterator[Tuple[Any, ...]]:
    """Yield name, symbol, arguments, auxiliary states and input of fp32 networks."""
    for name in constructions.CASES:
        yield (name, *constructions.problem(name)[:4])
    for name in small.SMALL:
        yield (name, *small.built(name))
    for name in ZOO:
        data = images(1, 3, 64, 64)
        yield (name, *zoo_network(name, data), data)


def saved(folder: Path, prefix: str, fp32: Tuple[Any, ...], statistics: Any, level: str) -> None:
    """Write the int8 network for one kind of CPU, its input, and its output by the integer simulation."""
    symbol, args, aux, data = fp32
    params = {"arg_params": args, "aux_params": aux}
    plan = mxquant.make_plan(symbol, statistics, method="minmax", mode="full", isa=level, **params)
    mxquant.lower(symbol, plan, **params).save(folder / prefix)
    simulation = mxquant.lower(symbol, plan, target="simulate", **params)
    np.save(folder / f"{prefix}-data.npy", data)
    simulated = forward(simulation.symbol, simulation.arg_params, simulation.aux_params, data=data)
    np.savez(folder / f"{prefix}-simulated.npz", *simulated)


def content(folder: Path, prefix: str) -> Tuple[Any, ...]:
    """Return what tells networks apart: the symbol and the parameters."""
    params = read_params_file(folder / f"{prefix}-0000.params")
    values = tuple((name, np.asarray(value).tobytes()) for name, value in sorted(params.items()))
    return (folder / f"{prefix}-symbol.json").read_text(encoding="utf-8"), values


def main(folder: Path) -> None:
    """Write all networks."""
    rows = []
    for number, (name, *fp32) in enumerate(networks()):
        statistics = mxquant.calibrate(fp32[0], fp32[3], arg_params=fp32[1], aux_params=fp32[2])
        known: Dict[Any, Dict[str, Any]] = {}
        for level in (*LEVELS, PORTABLE):
            prefix = f"{number:03}-{level}"
            saved(folder, prefix, tuple(fp32), statistics, level)
            row = known.setdefault(
                content(folder, prefix),
                {
                    "name": name,
                    "prefix": prefix,
                    "levels": [],
                    "float32_end": name in FLOAT32_ENDS,
                    "detects": name in small.SMALL and small.SMALL[name].detects,
                },
            )
            row["levels"].append(level)
        rows.extend(known.values())
    exact = [level for level in (*LEVELS, PORTABLE) if not saturates(level)]
    found = {"host": detect(), "exact": exact, "networks": rows}
    (folder / "networks.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{len(rows)} networks, of {number + 1} in float32, for {', '.join((*LEVELS, PORTABLE))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
