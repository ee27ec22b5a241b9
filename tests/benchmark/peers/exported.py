"""Runs what mxquant exported beside what a runtime's own tool made of the same fp32 file, in turns.

The option is onnxruntime or openvino. PREFIX.onnx is the fp32 network, PREFIX-qdq.onnx mxquant's.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List

import nncf
import nncf_openvino
import numpy as np
import onnx_runtime
import openvino as ov
from job import Job, Run, Timer
from macs import macs_of

BATCH, ROUNDS = 8, 21


def in_onnx_runtime(job: Job, folder: Path) -> Dict[str, Run]:
    """Return the networks in ONNX Runtime."""
    own = Job(job.prefix, "u8s8", job.out, job.calibration, job.evaluation, None)
    files = {
        "fp32": Path(f"{job.prefix}.onnx"),
        "theirs": onnx_runtime.quantize(own, folder),
        "ours": Path(f"{job.prefix}-qdq.onnx"),
    }
    return {name: onnx_runtime.session(path, folder / f"{name}-optimized.onnx") for name, path in files.items()}


def in_openvino(job: Job, folder: Path) -> Dict[str, Run]:
    """Return the networks in OpenVINO; ours has to be int8 throughout, by its executed graph."""
    own = Job(job.prefix, "default", job.out, job.calibration, job.evaluation, None)
    nncf.set_log_level(logging.ERROR)
    fp32, ours = (ov.convert_model(f"{job.prefix}{suffix}.onnx") for suffix in ("", "-qdq"))
    models = {"fp32": fp32, "theirs": nncf_openvino.quantize(fp32, own), "ours": ours}
    compiled = {name: nncf_openvino.compiled(ov.Core(), model, (BATCH, 3, 224, 224)) for name, model in models.items()}
    share = nncf_openvino.mac_share(macs_of(f"{job.prefix}.onnx"), nncf_openvino.executed(compiled["ours"]))
    if share < 1:
        raise ValueError(f"only {share:.3f} of the multiplications run in int8")
    return {name: nncf_openvino.runner(model) for name, model in compiled.items()}


RUNTIMES: Dict[str, Callable[[Job, Path], Dict[str, Run]]] = {
    "onnxruntime": in_onnx_runtime,
    "openvino": in_openvino,
}


def main() -> None:
    """Do one job."""
    job = Job.parse()
    logging.disable(logging.WARNING)
    images = job.evaluation[:BATCH]
    with tempfile.TemporaryDirectory() as folder:
        runs = RUNTIMES[job.option](job, Path(folder))
        seconds: Dict[str, List[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                with Timer() as timer:
                    run(images)
                seconds[name].append(timer.seconds)
        np.savez(f"{job.out}.npz", **{name: run(images) for name, run in runs.items()})
    numbers = {name: median(values[1:]) for name, values in seconds.items()}
    Path(f"{job.out}.json").write_text(json.dumps(numbers), encoding="utf-8")


if __name__ == "__main__":
    main()
