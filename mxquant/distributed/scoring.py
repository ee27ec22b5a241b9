"""Scores of an fp32 network, and of an int8 network beside it, on the workers of a Dask cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Optional, Set, Tuple

from mxquant import model as models
from mxquant.analysis.scores import Scores
from mxquant.analysis.scoring import Scoring
from mxquant.distributed.dispatch import Dispatch, workers_of
from mxquant.distributed.environment import common_environment
from mxquant.distributed.parcel import Parcel, pack, pack_symbol
from mxquant.distributed.shards import Shard, sharded
from mxquant.distributed.worker import Loaded, Task
from mxquant.errors import InputError
from mxquant.progress import Progress, progress_bar, reporting
from mxquant.runtime.data import batches

__all__ = ["ScoreTask", "score"]


def score(
    client: Any,
    net: Any,
    data: Any,
    *,
    arg_params: Optional[Mapping[str, Any]] = None,
    aux_params: Optional[Mapping[str, Any]] = None,
    nonfinite_params: str = "raise",
    int8: Any = None,
    begin: int = 0,
    end: Optional[int] = None,
    progress: Progress = False,
    shard_size: Optional[int] = None,
) -> Scores:
    """Score networks on labelled examples, on the workers of a cluster.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster; as for :func:`calibrate`.
    net, arg_params, aux_params, nonfinite_params
        The fp32 network, as for :func:`mxquant.calibrate`.
    data : Dataset or dask.array.Array
        As for :func:`calibrate`. Without labels nothing is tallied.
    int8 : QuantizedModel, optional
        For oneDNN, and of this network; it is run beside it.
    begin, end : int
        The first example that is used, and the one after the last; default: all.
    progress : bool or callable
        As for :func:`mxquant.calibrate`.
    shard_size : int, optional
        As for :func:`calibrate`.

    Returns
    -------
    Scores
        The same numbers for any number of workers, times aside.

    Raises
    ------
    InputError
        If the networks or the data cannot be read, or do not fit each other.
    ClusterError
        If workers, or their scheduler, cannot do it.
    """
    if getattr(client, "asynchronous", False):
        raise InputError("client is asynchronous; pass one of a program that is not, Client(address)")
    if end is not None and begin >= end:
        raise InputError(f"begin is {begin} and end is {end}, expected at least one example")
    source = models.read(net, arg_params, aux_params, nonfinite_params=nonfinite_params)
    parts = sharded(data, len(workers_of(client)), shard_size, end, begin)
    if parts.total is None:
        raise InputError("data are a dask.bag, expected a data set of mxquant.datasets or a dask.array")
    if not parts.shards:
        raise InputError(f"begin is {begin}, but there are {parts.total} examples")
    told: Set[str] = set()
    task = ScoreTask(common_environment(client, told), parts.batch_size, min(parts.batch_size, parts.total))
    int8 = None if int8 is None else int8.on_cpus(task.environment.levels)
    packed = None if int8 is None else pack_symbol(int8.symbol, int8.arg_params, int8.aux_params)
    found = Scores()
    with reporting(progress), progress_bar("scoring", parts.total - begin) as report:

        def count(examples: int, shards: int) -> None:
            if report is not None:
                report(examples, f"shard {shards} of {len(parts.shards)}")

        parcel = Parcel(pack(source), packed)
        for _, _, scores in Dispatch(client, parcel, task, parts.shards, count, told).results():
            found = found + scores
    return found


@dataclass(frozen=True)
class ScoreTask(Task):
    """Run networks in turns, in batches that are filled up to `rows` examples."""

    rows: int

    def load(self, parcel: Parcel) -> Loaded:
        """Return the networks, bound with the first batch."""
        int8 = None if parcel.int8 is None else parcel.int8.symbol()
        return _Scorer(parcel.fp32.inputs, Scoring.of(parcel.fp32.symbol(), int8, self.rows))


@dataclass
class _Scorer(Loaded):
    inputs: Tuple[str, ...]
    scoring: Scoring

    def run(self, shard: Shard, batches_of_shard: Iterable[Any]) -> Scores:
        scores = Scores.of(self.scoring.predictors)
        for item in batches_of_shard:
            (batch,) = batches([item], self.inputs)
            labels = item[-1] if len(item) > len(self.inputs) else None
            self.scoring.add(scores, batch.arrays, batch.size, labels)
        return scores

    def close(self) -> None:
        self.scoring = Scoring({})
