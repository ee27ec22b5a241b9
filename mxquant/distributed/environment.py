"""What workers have to have in common, so that it does not matter which of them does what."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Mapping, Optional

from mxquant.errors import ClusterError

__all__ = ["Environment", "Facts", "common_environment", "environment", "facts", "levels_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Environment:
    """Versions, and how many threads MXNet has: the last digits of float32 sums may depend on them."""

    mxquant: str
    mxnet: str
    threads: int

    def difference(self, other: Environment) -> Optional[str]:
        """Return in what another one differs, and what to do, or None."""
        for name in ("mxquant", "mxnet"):
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
    from mxquant.runtime.mxnet import mx
    from mxquant.runtime.threads import number_of_threads
    from mxquant.version import __version__

    return Environment(__version__, mx.__version__, number_of_threads())


def facts() -> Facts:
    """Return what this process is; runs on workers."""
    from mxquant.lowering.isa import detect
    from mxquant.runtime.processors import usable_processors

    return Facts(environment(), detect(), socket.gethostname(), usable_processors())


def common_environment(client: Any) -> Environment:
    """Ask all workers of a cluster what they are.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.

    Returns
    -------
    Environment
        That of all of them.

    Raises
    ------
    ClusterError
        If there are no workers, one does not have mxquant, another version than this process has, or another number of
        threads than the others.
    """
    answers: Dict[str, Any] = client.run(facts, on_error="return")
    # Of one that has just died comes an error of the connection; what it does is done by others.
    found = {worker: each for worker, each in answers.items() if not isinstance(each, OSError)}
    if not found:
        raise ClusterError("the cluster has no workers")
    here = environment()
    threads = Counter(each.environment.threads for each in found.values() if isinstance(each, Facts))
    expected = Environment(here.mxquant, here.mxnet, max(threads, key=lambda each: (threads[each], -each), default=1))
    for worker, each in sorted(found.items()):
        if not isinstance(each, Facts):
            raise ClusterError(
                f"worker {worker} cannot use mxquant: {type(each).__name__}: {each}; "
                f"pip install 'mxquant[dask]=={here.mxquant}' there"
            )
        difference = expected.difference(each.environment)
        if difference is not None:
            raise ClusterError(f"worker {worker} {difference}")
    _warn(found, expected)
    return expected


def levels_of(client: Any) -> FrozenSet[str]:
    """Return the levels of int8 instructions that the workers of a cluster have; see :mod:`mxquant.lowering.isa`."""
    return frozenset(each.cpu for each in client.run(facts, on_error="return").values() if isinstance(each, Facts))


def _warn(found: Mapping[str, Facts], common: Environment) -> None:
    levels: List[str] = sorted({each.cpu for each in found.values()})
    if len(levels) > 1:
        _log.warning(
            "workers have CPUs of levels %s: the last digits of activations depend on which of them does what, and so "
            "may single counts",
            ", ".join(levels),
        )
    for host, workers in Counter(each.host for each in found.values()).items():
        cores = max(each.cores for each in found.values() if each.host == host)
        if workers * common.threads > max(cores, common.threads):
            _log.warning(
                "%d workers with %d threads each share the %d cores of '%s': start fewer, or set OMP_NUM_THREADS=%d",
                workers,
                common.threads,
                cores,
                host,
                max(1, cores // workers),
            )
