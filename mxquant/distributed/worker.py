"""What runs on workers: a shard, and the merging of what comes of several.

One shard is run at a time in a process, since MXNet uses all threads that it has for one forward pass. The network is
loaded and bound with the first one, and kept for the next.
"""

from __future__ import annotations

import atexit
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import reduce
from operator import add
from threading import Lock
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Tuple, Union

from mxquant.distributed.environment import Environment, environment
from mxquant.distributed.failures import ShardFailure
from mxquant.distributed.parcel import Parcel
from mxquant.distributed.shards import Shard, batches_in
from mxquant.distributed.shelf import MissingNetwork, clear, parcel_of
from mxquant.errors import CalibrationError, ClusterError, InputError, MXQuantError
from mxquant.lowering.isa import detect
from mxquant.runtime.memory import give_back

__all__ = ["Loaded", "Task", "forget", "merged", "run_shard", "tell_of_level"]

_one_at_a_time = Lock()
_told: List[str] = []
_kept: Dict[Tuple[Tuple[str, ...], Task], Loaded] = {}


class Loaded(ABC):
    """Networks that are ready to run."""

    @abstractmethod
    def run(self, shard: Shard, batches: Iterable[Any]) -> Any:
        """Return what comes of a shard: something that merges by ``+``."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True)
class Task(ABC):
    """What is done with every shard.

    Parameters
    ----------
    environment : Environment
        What the worker has to have.
    batch_size : int
        Examples in a batch, for data that have no batches of their own.
    """

    environment: Environment
    batch_size: int

    @abstractmethod
    def load(self, parcel: Parcel) -> Loaded:
        """Return the networks of a parcel, ready to run."""


def run_shard(networks: Tuple[str, ...], task: Task, shard: Shard, data: Any, after: Any = None) -> Any:
    """Run one shard on this worker.

    Parameters
    ----------
    networks : tuple of str
        Names of the networks, which lie on the shelf of the worker; the fp32 one first.
    task : Task
        What to do.
    shard : Shard
        Which part of the data it is.
    data : Dataset, numpy.ndarray or list
        The part.
    after : object
        What Dask has to have done before, such as bringing the networks.

    Returns
    -------
    object
        What comes of it, which merges by ``+``; or a :class:`~mxquant.distributed.shelf.MissingNetwork`.

    A :class:`~mxquant.distributed.failures.ShardFailure` tells what goes wrong.
    """
    from distributed import get_worker

    address = str(get_worker().address)
    difference = task.environment.difference(environment())
    if difference is not None:
        raise ShardFailure(address, ClusterError(f"worker {address} {difference}"), False)
    tell_of_level(address, task.environment.levels)
    with _one_at_a_time:
        try:
            loaded = _loaded(address, networks, task)
            if isinstance(loaded, MissingNetwork):
                return loaded
            return loaded.run(shard, _reading(address, batches_in(data, task.batch_size)))
        except MXQuantError as error:
            raise ShardFailure(address, error, False) from error
        finally:
            give_back()


def tell_of_level(worker: str, levels: FrozenSet[str]) -> None:
    """Warn, once in a process, if its CPU is of another level than those that there were when the run began."""
    from distributed.worker import warn  # it reaches the client

    level, others = detect(), ", ".join(sorted(levels))
    if levels and level not in levels and not _told:
        _told.append(level)
        warn(
            f"worker {worker} came later, and its CPU is of level {level}, others are of {others}: the last digits of "
            "activations depend on which of them does what, and so may single counts"
        )


def _loaded(worker: str, networks: Tuple[str, ...], task: Task) -> Union[Loaded, MissingNetwork]:
    key = networks, task
    if key not in _kept:
        parcel = parcel_of(worker, networks)
        if isinstance(parcel, MissingNetwork):
            return parcel
        _unload()
        _kept[key] = task.load(parcel)
    return _kept[key]


def _unload() -> None:
    for loaded in _kept.values():
        loaded.close()
    _kept.clear()


def forget() -> None:
    """Let go of the networks that this worker has, loaded or not."""
    _unload()
    clear()


# Executors have to go before MXNet does.
atexit.register(forget)


def _reading(worker: str, batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches; tell what goes wrong with reading from what goes wrong with running."""
    try:
        yield from batches
    except InputError as error:
        raise ShardFailure(worker, error, True) from error
    except Exception as error:  # whatever the user's dask.bag holds, or reading raises
        raise ShardFailure(worker, CalibrationError(f"{type(error).__name__}: {error}"), True) from error


def merged(*parts: Any) -> Any:
    """Return the sum of what comes of several shards, or what was missing for one of them."""
    missing = next((part for part in parts if isinstance(part, MissingNetwork)), None)
    return reduce(add, parts) if missing is None else missing
