"""Calibration: the fp32 network runs on data, and every tensor that a target needs is counted."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, FrozenSet, Mapping, Optional, Sequence, Union

from mxquant import model as models
from mxquant.calibration.checkpoint import CalibrationCheckpoint
from mxquant.graph import Network
from mxquant.graph.channel_axes import channel_axes
from mxquant.progress import Progress, progress_bar, reporting
from mxquant.runtime.data import Sample, batches, peek
from mxquant.runtime.mxnet import mx
from mxquant.runtime.runner import run
from mxquant.runtime.sizes import outline
from mxquant.shown import logger
from mxquant.stats import HistogramCollector, Statistics
from mxquant.stats.outliers import outliers
from mxquant.targets import TARGETS, target_named
from mxquant.version import __version__

__all__ = ["calibrate", "collect", "observed_tensors", "statistics_of", "warn_of_outliers"]

_log = logger(__name__)


def calibrate(
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    num_calib_examples: Optional[int] = None,
    ctx: Any = None,
    nonfinite: str = "raise",
    target: Optional[str] = None,
    checkpoint: Optional[Union[str, Path]] = None,
    progress: Progress = False,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
) -> Statistics:
    """Do what :func:`mxquant.calibrate` does, in this process."""
    example, data = peek(data)
    model = models.load(net, arg_params, aux_params, data_names, label_names, example or None, nonfinite_params)
    with reporting(progress):
        return collect(
            model,
            data,
            num_calib_examples,
            ctx,
            nonfinite,
            target=target,
            checkpoint=checkpoint,
            take_params=True,
            batch_axes=batch_axes,
        )


def collect(
    model: models.Model,
    data: Any,
    num_examples: Optional[int] = None,
    ctx: Any = None,
    nonfinite: str = "raise",
    sample: Optional[Sample] = None,
    target: Optional[str] = None,
    checkpoint: Optional[Union[str, Path]] = None,
    take_params: bool = False,
    batch_axes: Optional[Mapping[str, Optional[int]]] = None,
) -> Statistics:
    """Do what :func:`calibrate` does, with a network that is loaded already.

    Examples that `sample` wants are kept. With `take_params` the model has no parameters afterwards.
    """
    canonical = model.canonical.network
    collector = HistogramCollector(nonfinite, channel_axes(canonical))
    # The run takes parameters away.
    stream = batches(data, model.inputs, num_examples, outline(canonical), batch_axes)
    stream = stream if sample is None else sample.of(stream)
    observed = observed_tensors(canonical, target)
    forward = partial(run, canonical, collector=collector, ctx=ctx, tensors=observed, take_params=take_params)

    statistics = partial(statistics_of, collector, model.digest)
    begin = time.perf_counter()
    with progress_bar("calibrating", num_examples) as progress:
        if checkpoint is None:
            found = statistics(*forward(stream, progress=progress))
        else:
            kept = CalibrationCheckpoint(Path(checkpoint), model.digest, statistics, progress)
            found = kept.run(forward, stream)
    seconds = time.perf_counter() - begin
    _log.info("counted %d tensors on %d examples in %.1f s", len(found), found.num_examples, seconds)
    warn_of_outliers(found)
    return found


def warn_of_outliers(found: Statistics) -> None:
    """Say which tensors have values far beyond all others."""
    told = outliers(found.histograms)
    if told is not None:
        _log.warning(told)


def observed_tensors(network: Network, target: Optional[str]) -> FrozenSet[str]:
    """Return what a target, or any, needs, and what the network returns, which shows NaN and infinities."""
    targets = list(TARGETS.values()) if target is None else [target_named(target)]
    outputs = {tensor.name for tensor in network.graph.outputs}
    return frozenset(outputs).union(*(each.observed(network) for each in targets))


def statistics_of(collector: HistogramCollector, network: str, examples: int, count: int) -> Statistics:
    """Return what a collector has counted, of a network with this digest, on so many examples and batches."""
    return Statistics(
        collector.histograms,
        network=network,
        num_examples=examples,
        num_batches=count,
        mxquant_version=__version__,
        mxnet_version=mx.__version__,
        channel_sums=collector.channel_sums,
    )
