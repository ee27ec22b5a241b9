"""Calibration on the workers of a Dask cluster: the same statistics, to the last byte, as by one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Set, Tuple, Union

from mxquant import model as models
from mxquant.calibration import observed_tensors, statistics_of, warn_of_outliers
from mxquant.distributed.dispatch import Dispatch, workers_of
from mxquant.distributed.environment import common_environment
from mxquant.distributed.parcel import Parcel, pack
from mxquant.distributed.shards import Shard, sharded
from mxquant.distributed.worker import Loaded, Task
from mxquant.errors import ClusterError, InputError
from mxquant.graph.channel_axes import channel_axes
from mxquant.progress import Progress, progress_bar, reporting
from mxquant.runtime.data import batches
from mxquant.runtime.mxnet import mx
from mxquant.runtime.runner import Runner
from mxquant.runtime.sizes import outline
from mxquant.shown import logger
from mxquant.stats import HistogramCollector, Statistics
from mxquant.targets import target_named

__all__ = ["calibrate"]

_SECONDS = 30.0
_log = logger(__name__)


def calibrate(
    client: Any,
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    data_names: Optional[Sequence[str]] = None,
    label_names: Optional[Sequence[str]] = None,
    nonfinite_params: str = "raise",
    num_calib_examples: Optional[int] = None,
    nonfinite: str = "raise",
    target: Optional[str] = None,
    checkpoint: Optional[Union[str, Path]] = None,
    progress: Progress = False,
    shard_size: Optional[int] = None,
) -> Statistics:
    """Do what :func:`mxquant.calibrate` does, on the workers of a cluster.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster. Its workers need mxquant, the same version as here, and have to find the data by the same names.
    net, arg_params, aux_params, data_names, label_names, nonfinite_params
        The fp32 network, as for :func:`mxquant.calibrate`. It is sent to each worker that does not have it yet.
    data : Dataset, dask.array.Array or dask.bag.Bag
        One of :mod:`mxquant.datasets`; or rows of an array, or elements of a bag, which are examples: arrays, or tuples
        of arrays and perhaps a label.
    num_calib_examples : int, optional
        How many examples to use, exactly; default: all.
    nonfinite, target
        As for :func:`mxquant.calibrate`.
    checkpoint : str or Path, optional
        A file that keeps what was counted on the first examples, as that of :func:`mxquant.calibrate` does: either can
        go on with it. Not for a bag.
    progress : bool or callable
        As for :func:`mxquant.calibrate`; shards that are done are told too.
    shard_size : int, optional
        How many examples a worker takes at a time, rounded up to whole batches. The result does not depend on it.

    Returns
    -------
    Statistics
        The same ones, byte for byte, for any number of workers.

    Raises
    ------
    InputError
        If the network or the data cannot be read, or do not fit each other.
    NonFiniteError
        If a tensor holds NaN or infinities.
    CalibrationError
        If a forward pass fails.
    ClusterError
        If workers, or their scheduler, cannot do it. All these name the shard.
    """
    if getattr(client, "asynchronous", False):
        raise InputError("client is asynchronous; pass one of a program that is not, Client(address)")
    source = models.read(net, arg_params, aux_params, data_names, label_names, nonfinite_params=nonfinite_params)
    parcel = Parcel(pack(source))
    if target is not None:
        target_named(target)
    HistogramCollector(nonfinite)
    before = _Before.of(checkpoint, parcel.fp32.digest)
    counted = _Counted(before)
    begin = time.perf_counter()
    try:
        workers = _count(client, parcel, data, counted, shard_size, num_calib_examples, target, nonfinite, progress)
    except ClusterError as error:
        counted.save()
        raise ClusterError(f"{error}{before.remains(counted.written)}") from error
    except BaseException:
        counted.save()
        raise
    statistics = counted.all
    if before.path is not None and before.path.exists():
        before.path.unlink()
    seconds = time.perf_counter() - begin
    _log.info(
        "counted %d tensors on %d examples on %d workers in %.1f s",
        len(statistics),
        statistics.num_examples,
        workers,
        seconds,
    )
    warn_of_outliers(statistics)
    return statistics


def _count(
    client: Any,
    parcel: Parcel,
    data: Any,
    counted: _Counted,
    shard_size: Optional[int],
    num_calib_examples: Optional[int],
    target: Optional[str],
    nonfinite: str,
    progress: Progress,
) -> int:
    """Count what was not counted before; return on how many workers."""
    before = counted.before
    told: Set[str] = set()
    workers = len(workers_of(client))
    parts = sharded(data, workers, shard_size, num_calib_examples, before.examples)
    if before.path is not None and parts.total is None:
        raise InputError("checkpoint: a dask.bag has no first examples to go on from; leave it out")
    task = CountTask(common_environment(client, told), parts.batch_size, target, nonfinite)
    with reporting(progress), progress_bar("calibrating", parts.total) as report:

        def count(examples: int, shards: int) -> None:
            if report is not None:
                report(before.examples + examples, f"shard {shards} of {len(parts.shards)}")

        for first, last, found in Dispatch(client, parcel, task, parts.shards, count, told).results():
            counted.add(first, last, found)
    return workers


@dataclass(frozen=True)
class _Before:
    """What a file of an interrupted run holds."""

    path: Optional[Path] = None
    statistics: Optional[Statistics] = None

    @classmethod
    def of(cls, path: Optional[Union[str, Path]], network: str) -> _Before:
        if path is None:
            return cls()
        path = Path(path)
        return cls(path, Statistics.load(path, network) if path.exists() else None)

    @property
    def examples(self) -> int:
        return 0 if self.statistics is None else self.statistics.num_examples

    def remains(self, examples: int) -> str:
        """Return how to go on after an error, with so many examples in the file."""
        if self.path is None:
            return ""
        if not examples:
            return "; nothing was counted yet: the same command begins anew, with --resume or without"
        return (
            f"; '{self.path}' keeps the calibration on {examples} examples, and the same command with --resume, or the "
            "same checkpoint=, goes on from there"
        )


class _Counted:
    """Statistics of runs of examples, joined where one ends and another begins; the first run is kept in a file."""

    def __init__(self, before: _Before) -> None:
        self.before = before
        self.runs: Dict[int, Tuple[int, Statistics]] = {}
        self.saved = time.monotonic()
        self.written = before.examples
        if before.statistics is not None:
            self.runs[0] = before.examples, before.statistics

    def add(self, begin: int, end: int, found: Statistics) -> None:
        """Take what was counted on the examples from `begin` to `end` - 1; of a bag, where neither is known."""
        if end == begin:
            end_before, known = self.runs.get(0, (0, None))
            self.runs[0] = end_before, found if known is None else known + found
            return
        for first, (last, known) in list(self.runs.items()):
            if last == begin or first == end:
                del self.runs[first]
                begin, end, found = min(begin, first), max(end, last), found + known
        self.runs[begin] = end, found
        if time.monotonic() - self.saved >= _SECONDS:
            self.save()

    def save(self) -> None:
        """Write what was counted on the first examples to the file, if there is one, and anything new."""
        end, first = self.runs.get(min(self.runs, default=0), (0, None))
        begins = self.before.statistics is not None or min(self.runs, default=0) == 0
        if self.before.path is not None and first is not None and begins and end > self.written:
            first.save(self.before.path)
            self.written = end
        self.saved = time.monotonic()

    @property
    def all(self) -> Statistics:
        """What was counted on all examples."""
        ((_, found),) = self.runs.values()
        return found


@dataclass(frozen=True)
class CountTask(Task):
    """Count the tensors that targets need."""

    target: Optional[str]
    nonfinite: str

    def load(self, parcel: Parcel) -> Loaded:
        """Return the network, bound with the first batch."""
        return _Counter(parcel.fp32.source().model(), self)


class _Counter(Loaded):
    def __init__(self, model: models.Model, task: CountTask) -> None:
        canonical = model.canonical.network
        self.task, self.digest, self.inputs = task, model.digest, model.inputs
        self.axes, self.outline = channel_axes(canonical), outline(canonical)
        self.runner = Runner(canonical, mx.cpu(), observed_tensors(canonical, task.target), take_params=True)

    def run(self, shard: Shard, batches_of_shard: Iterable[Any]) -> Statistics:
        collector = HistogramCollector(self.task.nonfinite, self.axes)
        axes = dict.fromkeys(self.inputs, 0)
        stream = batches(batches_of_shard, self.inputs, network=self.outline, batch_axes=axes)
        return statistics_of(collector, self.digest, *self.runner.run(stream, collector, first=shard.batch))

    def close(self) -> None:
        self.runner.close()
