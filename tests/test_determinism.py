"""Same data and seed, same bytes: in every process, whatever its seed of hashes; the number of threads may matter."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.soak.material import SIDE, network

ROOT = Path(__file__).resolve().parents[1]
WORK = """
import sys
from pathlib import Path
import numpy as np
import mxquant
from tests.soak.material import SIDE, network

symbol, args, aux = network()
params = {"arg_params": args, "aux_params": aux}
data = np.random.RandomState(0).randn(6, 3, SIDE, SIDE).astype(np.float32)
folder = Path(sys.argv[1])
statistics = mxquant.calibrate(symbol, [data[:2], data[2:]], **params)
statistics.save(folder / "statistics.npz")
for accuracy in sys.argv[2:]:
    mxquant.quantize(symbol, data, accuracy=accuracy, **params).save(folder / accuracy)
    mxquant.quantize(symbol, data, accuracy=accuracy, target="onnx_qdq", **params).save(folder / f"{accuracy}.onnx")
mxquant.export_onnx(symbol, folder / "fp32.onnx", input_shapes=data.shape, **params)
"""


def made(folder: Path, threads: int, seed: int, *accuracies: str) -> Dict[str, str]:
    """Return the digests of all files that a process makes."""
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-W", "ignore", "-c", WORK, str(folder), *accuracies]
    subprocess.run(command, cwd=str(ROOT), env=environment, check=True, capture_output=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_two_processes_with_one_thread_and_two_make_the_same_files(tmp_path: Path) -> None:
    one = made(tmp_path / "one", 1, 0, "fast")
    two = made(tmp_path / "two", 2, 1, "fast")
    assert len(one) == 2 + 4
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", ["balanced", "best"])
def test_so_do_two_with_more_accuracy_and_the_same_number_of_threads(accuracy: str, tmp_path: Path) -> None:
    for threads in (1, 2):
        first, second = (tmp_path / f"{threads} threads, seed {seed}" for seed in (0, 1))
        assert made(first, threads, 0, accuracy) == made(second, threads, 1, accuracy)
    # Biases are what forward passes say, whose last digits depend on the number of threads.
    folders = [tmp_path / f"{threads} threads, seed 0" for threads in (1, 2)]
    plans = [json.loads((folder / f"{accuracy}-plan.json").read_text()) for folder in folders]
    assert all(plan.pop("files") for plan in plans) and plans[0] == plans[1]
    one, two = (mx.nd.load(str(folder / f"{accuracy}-0000.params")) for folder in folders)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert np.allclose(value.asnumpy(), two[name].asnumpy(), rtol=1e-6, atol=0.0), name


def test_threads_at_once_find_what_they_find_one_after_the_other() -> None:
    symbol, args, aux = network()
    sets = [np.random.RandomState(seed).randn(4, 3, SIDE, SIDE).astype(np.float32) for seed in range(3)]
    found: List[str] = ["", "", ""]

    def work(index: int) -> None:
        params = {"arg_params": args, "aux_params": aux}
        model = mxquant.quantize(symbol, sets[index], accuracy="fast", **params)
        values = sorted((name, value.asnumpy().tobytes()) for name, value in model.arg_params.items())
        found[index] = hashlib.sha256((model.plan.to_json() + repr(values)).encode()).hexdigest()

    for index in range(3):
        work(index)
    expected = list(found)
    for _ in range(3):
        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == expected
