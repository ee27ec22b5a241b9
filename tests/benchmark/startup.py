"""What it takes to begin: files, their loading, the first forward pass; and several processes on one machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Dict, List

import numpy as np

import mxquant
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment

__all__ = ["begin", "forward_for", "megabytes", "write_compact"]


def write_compact(prefix: str) -> None:
    """Write NAME-compact beside NAME-mxquant, which has to have a plan."""
    mxquant.load(f"{prefix}-mxquant").save(f"{prefix}-compact", compact=True)


def megabytes(prefix: str) -> float:
    """Return the size of a checkpoint's parameters."""
    return Path(f"{prefix}-0000.params").stat().st_size / 1e6


def begin(prefix: str, data_file: str, kind: str) -> Dict[str, float]:
    """Return the seconds of loading a checkpoint, of its first forward pass, binding included, and of a later one.

    Parameters
    ----------
    prefix : str
        Of the checkpoint.
    data_file : str
        A .npy file with a batch.
    kind : str
        'fp32' runs with MXNet's fusions; 'compact' is loaded by mxquant.
    """
    images = mx.nd.array(np.load(data_file))
    images.wait_to_read()
    times = [time.perf_counter()]
    if kind == "compact":
        model = mxquant.load(prefix)
        symbol, args, aux = model.symbol, model.arg_params, model.aux_params
    else:
        symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
    times.append(time.perf_counter())
    with environment(MXNET_SUBGRAPH_BACKEND="MKLDNN" if kind == "fp32" else "NONE"):
        executor = symbol.bind(mx.cpu(), {**args, "data": images}, aux_states=aux, grad_req="null")
    for _ in range(3):
        executor.forward(is_train=False)[0].wait_to_read()
        times.append(time.perf_counter())
    load, first, _, last = np.diff(times)
    return {"load": float(load), "first": float(first), "later": float(last)}


def forward_for(prefix: str, data_file: str, seconds: float) -> List[float]:
    """Return the seconds of forward passes, one after the other, for a while."""
    images = mx.nd.array(np.load(data_file))
    symbol, args, aux = mx.model.load_checkpoint(prefix, 0)
    executor = symbol.bind(mx.cpu(), {**args, "data": images}, aux_states=aux, grad_req="null")
    for _ in range(3):
        executor.forward(is_train=False)[0].wait_to_read()
    found: List[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        executor.forward(is_train=False)[0].wait_to_read()
        found.append(time.perf_counter() - start)
    return found
