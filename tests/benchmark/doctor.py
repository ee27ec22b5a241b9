"""What the doctor costs: ``python -m tests.benchmark.doctor [--before COMMIT]``.

Each network is examined in a process of its own; with a commit, also by the version of its tree. Printed are seconds,
seconds of processors, and the peak of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from tests.benchmark.trees import trees

_WORK = """
import json, resource, sys, time
import mxquant
from mxquant.doctor import diagnose
import numpy as np
from mxnet import init, nd, random
from mxnet.gluon.model_zoo import vision

name, images = sys.argv[1], int(sys.argv[2])
random.seed(0), np.random.seed(0)
net = vision.get_model(name, pretrained=False)
net.initialize(init.Xavier(magnitude=2))
net.hybridize()
data = np.random.RandomState(0).uniform(-2, 2, (images, 3, 224, 224)).astype("float32")
net(nd.array(data[:1])).wait_to_read()
start = time.perf_counter(), time.process_time()
found = diagnose(net, data, num_examples=images)
print(json.dumps({
    "seconds": time.perf_counter() - start[0],
    "cpu": time.process_time() - start[1],
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "sqnr": found.sqnr,
}))
"""


def measure(folder: Path, network: str, images: int) -> Dict[str, Any]:
    """Return seconds, CPU seconds, peak gigabytes, and the SQNR found, of the version in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", _WORK, network, str(images)]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each network and version."""
    parser = argparse.ArgumentParser(description="Time the doctor.")
    parser.add_argument("--networks", nargs="+", default=["resnet50_v1", "densenet121"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--before", metavar="COMMIT", help="a commit to compare with")
    options = parser.parse_args()
    with trees(options.before) as versions:
        for network in options.networks:
            for version, folder in versions.items():
                found = measure(folder, network, options.images)
                print(
                    f"{network:<16}{version:<8}{found['seconds']:8.1f} s {found['cpu']:8.1f} s of CPU"
                    f"{found['gigabytes']:7.2f} GB   SQNR {found['sqnr']:.2f} dB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
