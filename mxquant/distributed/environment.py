"""What workers have to have in common, so that it does not matter which of them does what."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Optional, Set

from mxquant.distributed.patience import asked
from mxquant.errors import ClusterError
from mxquant.shown import logger

__all__ = ["Environment", "Facts", "common_environment", "environment", "facts"]

_VERSIONS = ("mxquant", "mxnet", "numpy", "numba")
# Workers load MXNet when they are asked first: many of them, perhaps from one disk.
_LOADING = 5
_log = logger(__name__)


@dataclass(frozen=True)
class Environment:
    """Versions, and how many threads MXNet has: the last digits of sums may depend on them.

    They do on the levels of the CPUs too, which are told and not compared; see :mod:`mxquant.lowering.isa`.
    """

    mxquant: str
    mxnet: str
    numpy: str
    numba: str
    threads: int
    levels: FrozenSet[str] = field(default=frozenset(), compare=False)

    def difference(self, other: Environment) -> Optional[str]:
        """Return in what another one differs, and what to do, or None."""
        for name in _VERSIONS:
            found, expected = getattr(other, name), getattr(self, name)
            if found != expected:
                return f"has {name} {found}, expected {expected}; pip install '{name}=={expected}' there"
        if other.threads != self.threads:
            return (
                f"runs MXNet with {other.threads} threads, others with {self.threads}; start all workers with the same "
                "OMP_NUM_THREADS"
            )
        return None


@dataclass(frozen=True)
class Facts:
    """What a worker is."""

    environment: Environment
    cpu: str
    host: str
    cores: int


def environment() -> Environment:
    """Return the environment of this process."""
    import numba
    import numpy as np

    from mxquant.runtime.mxnet import mx
    from mxquant.runtime.threads import number_of_threads
    from mxquant.version import __version__

    return Environment(__version__, mx.__version__, np.__version__, numba.__version__, number_of_threads())


def facts() -> Facts:
    """Return what this process is; runs on workers."""
    from mxquant.lowering.isa import detect
    from mxquant.runtime.processors import usable_processors

    return Facts(environment(), detect(), socket.gethostname(), usable_processors())


def common_environment(client: Any, told: Optional[Set[str]] = None) -> Environment:
    """Ask all workers of a cluster what they are.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    told : set of str, optional
        Warnings that were given before, and are not given again; those of this call are added.

    Returns
    -------
    Environment
        That of all of them, with the levels of their CPUs.

    Raises
    ------
    ClusterError
        If there are no workers, one does not answer or does not have mxquant, another version of what computes than
        this process has, or another number of threads than the others.
    """
    answers: Dict[str, Any] = asked(client, "run", facts, on_error="return", times=_LOADING)
    # Of one that has just died comes an error of the connection; what it does is done by others.
    found = {worker: each for worker, each in answers.items() if not isinstance(each, OSError)}
    if not found:
        raise ClusterError("the cluster has no workers")
    here = facts()
    threads = Counter(each.environment.threads for each in found.values() if isinstance(each, Facts))
    common = max(threads, key=lambda each: (threads[each], -each), default=1)
    expected = replace(here.environment, threads=common)
    for worker, each in sorted(found.items()):
        if not isinstance(each, Facts):
            raise ClusterError(
                f"worker {worker} cannot use mxquant: {type(each).__name__}: {each}; "
                f"pip install 'mxquant[dask]=={here.environment.mxquant}' there"
            )
        difference = expected.difference(each.environment)
        if difference is not None:
            raise ClusterError(f"worker {worker} {difference}")
    told = set() if told is None else told
    for sentence in _doubts(found, expected, here.cpu):
        if sentence not in told:
            told.add(sentence)
            _log.warning("%s", sentence)
    return replace(expected, levels=frozenset(each.cpu for each in found.values()))


def _doubts(found: Mapping[str, Facts], common: Environment, here: str) -> Iterator[str]:
    """Yield what may make results differ, or slow."""
    levels: List[str] = sorted({each.cpu for each in found.values()})
    if len(levels) > 1:
        yield (
            f"workers have CPUs of levels {', '.join(levels)}: the last digits of activations depend on which of them "
            "does what, and so may single counts"
        )
    elif levels != [here]:
        yield (
            f"workers have CPUs of level {levels[0]}, this process one of level {here}: without the cluster the last "
            "digits of activations may differ, and so may single counts"
        )
    for host, workers in Counter(each.host for each in found.values()).items():
        cores = max(each.cores for each in found.values() if each.host == host)
        if workers * common.threads > max(cores, common.threads):
            yield (
                f"{workers} workers with {common.threads} threads each share the {cores} cores of '{host}': start "
                f"fewer, or set OMP_NUM_THREADS={max(1, cores // workers)}"
            )
