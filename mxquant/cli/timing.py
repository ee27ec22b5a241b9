"""Times of an fp32 and an int8 network in turns; ``python -m mxquant.cli.timing`` reads a job as JSON and prints times.

A job has ``fp32`` and ``int8`` (checkpoints), ``batch_sizes``, ``rounds`` and ``shapes`` (of the inputs, by name).
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

import numpy as np

from mxquant.analysis.predictor import Predictor
from mxquant.cli.files import prefix_and_epoch
from mxquant.errors import MXQuantError
from mxquant.model import load_checkpoint
from mxquant.runtime.threads import number_of_threads
from mxquant.shown import say, show

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["measure", "noise"]


def noise(shapes: Mapping[str, Sequence[int]], batch_size: int) -> Dict[str, NDArray[np.float32]]:
    """Return a batch of normally distributed numbers, always the same.

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        By name of the input.
    batch_size : int
        Takes the place of the first length.

    Returns
    -------
    dict of str to numpy.ndarray
        By name of the input, float32.
    """
    rng = np.random.RandomState(0)
    return {name: rng.randn(batch_size, *shape[1:]).astype(np.float32) for name, shape in shapes.items()}


def measure(job: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Time two networks with the threads of this process.

    Parameters
    ----------
    job : mapping
        See the head of this module.

    Returns
    -------
    list of dict
        Rows of ``mxquant bench --json``, one for each batch size.

    Raises
    ------
    InputError
        If a network cannot be read, or does not take the shapes.
    """
    return [_row(job, batch_size) for batch_size in job["batch_sizes"]]


def _row(job: Mapping[str, Any], batch_size: int) -> Dict[str, Any]:
    arrays = noise(job["shapes"], batch_size)
    times: Dict[str, List[float]] = {"fp32": [], "int8": []}
    predictors = {}
    for kind in times:
        prefix, epoch = prefix_and_epoch(job[kind])
        predictors[kind] = Predictor(*load_checkpoint(f"{prefix}:{epoch}"), fused=kind == "fp32")
        predictors[kind].bind(arrays)
    for _ in range(job["rounds"]):
        for kind, predictor in predictors.items():
            begin = time.perf_counter()
            predictor.forward()
            times[kind].append(1e3 * (time.perf_counter() - begin))
    fp32, int8 = median(times["fp32"]), median(times["int8"])
    return {
        "threads": number_of_threads(),
        "batch_size": batch_size,
        "fp32_ms": fp32,
        "int8_ms": int8,
        "speedup": fp32 / int8,
    }


def _main() -> int:
    try:
        show(json.dumps(measure(json.load(sys.stdin))))
    except MXQuantError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(_main())
