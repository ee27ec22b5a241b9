"""Writes what the trained networks are fed: ``python -m tests.benchmark.trained.material PHOTOS OUT NETWORK...``.

Runs in the peers' environment, which has Pillow. OUT/NETWORK-calibration.npz and OUT/NETWORK-evaluation.npz have the
inputs by name. No photograph is in both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.benchmark.trained.networks import NETWORKS

EXAMPLES = 24
HALF = 10


def main() -> None:
    """Write the inputs of the networks that the command line names."""
    folder, out, *names = sys.argv[1:]
    photos = sorted(Path(folder).glob("imagenet_*_*.jpg"))
    for name in names:
        data = NETWORKS[name].data
        np.savez(f"{out}/{name}-calibration.npz", **data(range(EXAMPLES), photos[:HALF]))
        np.savez(f"{out}/{name}-evaluation.npz", **data(range(1000, 1000 + EXAMPLES), photos[HALF:]))


if __name__ == "__main__":
    main()
