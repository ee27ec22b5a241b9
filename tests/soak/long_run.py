"""Ten thousand batches of calibration and ten thousand inferences: memory stays where it is.

    python -m tests.soak.long_run --batches 10000

Resident memory is read after each tenth of a run. What is asked: from the second tenth to the last it grows by less
than 2 MB, or 200 bytes a batch; so too for repeated quantizations. The statistics of all batches are those of one run
in large batches. Besides, threads that calibrate and quantize at once, over and over, give the same bytes as
one after the other.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import numpy as np

import mxquant
from mxquant.runtime.mxnet import mx
from tests.soak.material import SIDE, network

GROWTH = 2e6


def batches(count: int) -> Iterator[np.ndarray]:
    """Yield batches of one example, again and again the same hundred."""
    examples = np.random.RandomState(0).randn(100, 1, 3, SIDE, SIDE).astype(np.float32)
    for number in range(count):
        yield examples[number % 100]


def resident() -> int:
    """Return this process's resident memory in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def calibrate_long(count: int) -> Dict[str, Any]:
    """Calibrate on many batches."""
    symbol, args, aux = network()
    seen: List[int] = []

    def watched() -> Iterator[np.ndarray]:
        for number, batch in enumerate(batches(count)):
            if number % (count // 10) == 0:
                seen.append(resident())
            yield batch
        seen.append(resident())

    params = {"arg_params": args, "aux_params": aux}
    found = mxquant.calibrate(symbol, watched(), **params)
    hundred = mxquant.calibrate(symbol, [np.concatenate(list(batches(100)))], **params)
    # A forward pass of many examples may round in another way than that of one; the inputs are the same.
    same = np.array_equal(found["data"].counts, hundred["data"].counts * (count // 100))
    return {"batches": found.num_batches, "megabytes": _megabytes(seen), "grown": seen[-1] - seen[2], "exact": same}


def infer_long(count: int) -> Dict[str, Any]:
    """Run an int8 network many times."""
    symbol, args, aux = network()
    data = np.concatenate(list(batches(4)))
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    block = model.as_block()
    block.hybridize(static_alloc=True, static_shape=True)
    seen: List[int] = []
    first: Dict[int, bytes] = {}
    same = True
    for number, batch in enumerate(batches(count)):
        if number % (count // 10) == 0:
            seen.append(resident())
        result = block(mx.nd.array(batch)).asnumpy().tobytes()
        same = same and first.setdefault(number % 100, result) == result
    seen.append(resident())
    return {"inferences": count, "megabytes": _megabytes(seen), "grown": seen[-1] - seen[2], "exact": same}


def quantize_often(count: int) -> Dict[str, Any]:
    """Quantize the same network many times."""
    symbol, args, aux = network()
    data = np.concatenate(list(batches(4)))
    seen: List[int] = []
    for number in range(count):
        if number % max(1, count // 10) == 0:
            seen.append(resident())
        mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast").as_block()
    seen.append(resident())
    return {"quantizations": count, "megabytes": _megabytes(seen), "grown": seen[-1] - seen[2]}


def in_threads(rounds: int, number: int = 3) -> Dict[str, Any]:
    """Calibrate and quantize in several threads at once."""
    symbol, args, aux = network()
    params = {"arg_params": args, "aux_params": aux}
    sets = [np.random.RandomState(seed).randn(8, 3, SIDE, SIDE).astype(np.float32) for seed in range(number)]

    def job(index: int) -> str:
        model = mxquant.quantize(symbol, sets[index], accuracy=("fast", "balanced")[index % 2], **params)
        with tempfile.TemporaryDirectory() as folder:
            mxquant.calibrate(symbol, sets[index], **params).save(Path(folder) / "s.npz")
            model.save(Path(folder) / "net")
            digest = hashlib.sha256()
            for path in sorted(Path(folder).iterdir()):
                digest.update(path.read_bytes())
            return digest.hexdigest()

    expected = [job(index) for index in range(number)]
    different: List[str] = []

    def repeat(index: int) -> None:
        for _ in range(rounds):
            try:
                if job(index) != expected[index]:
                    different.append(f"thread {index}: other bytes")
            except Exception as error:  # whatever comes of it
                different.append(f"thread {index}: {error!r}")

    threads = [threading.Thread(target=repeat, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"threads": number, "rounds": rounds, "different": different}


def _megabytes(seen: List[int]) -> List[float]:
    return [round(each / 1e6, 1) for each in seen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    begin = time.monotonic()
    parts: Dict[str, Callable[[], Dict[str, Any]]] = {
        "calibration": lambda: calibrate_long(arguments.batches),
        "inference": lambda: infer_long(arguments.batches),
        "quantization": lambda: quantize_often(max(10, arguments.batches // 50)),
        "threads": lambda: in_threads(max(1, arguments.batches // 500)),
    }
    summary: Dict[str, Any] = {name: part() for name, part in parts.items()}
    wrong = [name for name, part in summary.items() if part.get("grown", 0) > GROWTH or not part.get("exact", True)]
    summary["wrong"] = wrong + summary["threads"]["different"]
    summary["seconds"] = round(time.monotonic() - begin)
    print(json.dumps(summary, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(summary))
    return 1 if summary["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
