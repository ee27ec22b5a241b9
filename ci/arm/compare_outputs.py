"""What int8 networks return on ARM beside what they should: ``compare_outputs.py NETWORKS HOST ARM``.

On a host whose sums of products are exact, with VNNI, all bits have to be the host's; a network that ends in float32
operators may differ in the last ones. On another host the outputs have to be those of the integer simulation, to within
a code. Plans for CPUs whose sums may saturate have even codes of weights, of which the simulation takes the mean of
what halved and whole weights give: some codes then, and boxes that detectors choose are left out.

It prints a line for each network and a table, and fails if one of them is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

# Differences are measured in codes: the 127th part of an output's largest magnitude. Float32 arithmetic in another
# order is far below a thousandth.
LAST_BITS, SIMULATED, EVEN = 1e-3, 1.001, 4.0
WRONG = ("differs", "failed")


def outputs(path: Path) -> List[np.ndarray]:
    """Return the outputs of a network, in their order."""
    with np.load(path) as file:
        return [file[f"arr_{index}"] for index in range(len(file.files))]


def codes_apart(expected: List[np.ndarray], found: List[np.ndarray]) -> float:
    """Return the largest difference of two networks' outputs, in codes."""
    if [each.shape for each in expected] != [each.shape for each in found]:
        return float("inf")
    worst = 0.0
    for one, other in zip(expected, found):
        if one.tobytes() != other.tobytes():
            code = max(float(np.abs(one).max()), np.finfo(np.float32).tiny) / 127
            apart = float(np.abs(one.astype(np.float64) - other).max()) / code
            worst = max(worst, apart if np.isfinite(apart) else float("inf"))
    return worst


def verdict(row: Dict[str, Any], material: Dict[str, Any], folders: Tuple[Path, ...]) -> Tuple[str, str]:
    """Return what came out for a network, and how far apart the outputs are."""
    networks, host, arm = folders
    if not (arm / f"{row['prefix']}.npz").exists():
        error = arm / f"{row['prefix']}.txt"
        return "failed", error.read_text(encoding="utf-8").splitlines()[0] if error.exists() else "it did not run"
    found = outputs(arm / f"{row['prefix']}.npz")
    if material["host"] in material["exact"]:
        expected = outputs(host / f"{row['prefix']}.npz")
        if [each.tobytes() for each in expected] == [each.tobytes() for each in found]:
            return "same bits", ""
        apart = codes_apart(expected, found)
        right = row["float32_end"] and apart <= LAST_BITS
        return "last bits" if right else "differs", f"{apart:.2g} codes from the host's"
    exact = bool(set(row["levels"]) & set(material["exact"]))
    if row["detects"] and not exact:
        return "left out", "other boxes may be chosen"
    apart = codes_apart(outputs(networks / f"{row['prefix']}-simulated.npz"), found)
    right = apart <= (SIMULATED if exact else EVEN)
    return "simulated" if right else "differs", f"{apart:.2g} codes from the simulation"


def main(*folders: Path) -> int:
    """Compare all networks; return the exit status."""
    material = json.loads((folders[0] / "networks.json").read_text(encoding="utf-8"))
    table: Dict[str, Dict[str, int]] = {}
    wrong = 0
    for row in material["networks"]:
        result, detail = verdict(row, material, folders)
        print(f"{result:10} {row['name']} ({', '.join(row['levels'])}) {detail}".rstrip())
        wrong += result in WRONG
        for level in row["levels"]:
            counts = table.setdefault(level, {})
            counts[result] = counts.get(result, 0) + 1
    results = sorted({result for counts in table.values() for result in counts})
    print("".join(f"{text:>11}" for text in ("plan for", *results)))
    for level, counts in table.items():
        print(f"{level:>11}" + "".join(f"{counts.get(result, 0):11}" for result in results))
    print(f"{len(material['networks'])} networks, {wrong} wrong; the host is '{material['host']}'")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
