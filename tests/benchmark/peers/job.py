"""What all tools share: how one network is handed to one tool, how it is measured, and what comes back.

A tool is a process: ``TOOL.py --prefix PREFIX --option OPTION --data FILE [--crops FILE] --out OUT``. It reads its fp32
network from PREFIX.onnx or from PREFIX-symbol.json and PREFIX-0000.params, the images from FILE, and writes OUT.npz
with logits and OUT.json with numbers.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, Callable, Dict, List, Optional

import numpy as np

__all__ = ["THREADS", "Job", "Timer", "report"]

THREADS = 2
REPEATS = 11
BATCH = 10

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Job:
    """One network for one tool.

    Parameters
    ----------
    prefix, option, out : str
        See the module.
    calibration, evaluation : numpy.ndarray
        Images of shape (10, 3, 224, 224), float32, preprocessed.
    crops : numpy.ndarray or None
        Images of shape (n, 3, 224, 224), uint8, not preprocessed.
    """

    prefix: str
    option: str
    out: str
    calibration: np.ndarray
    evaluation: np.ndarray
    crops: Optional[np.ndarray]

    @classmethod
    def parse(cls) -> Job:
        """Return the job that the command line names."""
        parser = argparse.ArgumentParser()
        for name in ("--prefix", "--option", "--data", "--crops", "--out"):
            parser.add_argument(name, required=name != "--crops")
        given = parser.parse_args()
        with np.load(given.data) as data:
            calibration, evaluation = data["calibration"], data["evaluation"]
        crops = None
        if given.crops:
            with np.load(given.crops) as data:
                crops = data["crops"]
        return cls(given.prefix, given.option, given.out, calibration, evaluation, crops)


class Timer:
    """Seconds that a block took."""

    def __enter__(self) -> Timer:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


def report(job: Job, fp32: Run, int8: Run, quantize_seconds: float, mac_share: float, **notes: Any) -> None:
    """Measure both networks and write what comes out.

    Parameters
    ----------
    job : Job
        What was asked for.
    fp32, int8 : callable
        From 10 images to their logits.
    quantize_seconds : float
        How long the tool took, calibration included.
    mac_share : float
        Which share of the multiplications of convolutions and dense layers run in int8.
    **notes
        More for the JSON file.
    """
    runs: Dict[str, Run] = {"fp32": fp32, "int8": int8}
    arrays = {name: run(job.evaluation) for name, run in runs.items()}
    seconds: Dict[str, List[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):  # in turns, so that noise of the machine hits both
        for name, run in runs.items():
            with Timer() as timer:
                run(job.evaluation)
            seconds[name].append(timer.seconds)
    if job.crops is not None:
        arrays.update({f"{name}_crops": _run_all(run, job.crops) for name, run in runs.items()})
    np.savez(f"{job.out}.npz", **arrays)
    numbers = {
        "quantize_seconds": quantize_seconds,
        "mac_share": mac_share,
        **{f"{name}_seconds": median(values) for name, values in seconds.items()},
        **notes,
    }
    with open(f"{job.out}.json", "w", encoding="utf-8") as file:
        json.dump(numbers, file)


def _run_all(run: Run, crops: np.ndarray) -> np.ndarray:
    """Return the logits of crops, of which there is a whole number of batches."""
    parts = (crops[start : start + BATCH] for start in range(0, len(crops), BATCH))
    return np.concatenate([run((part.astype(np.float32) - 127) / 128) for part in parts])
