"""Shards go to workers, and what comes of them is merged in trees on the workers; each shard counts once.

Only as many shards are on their way as keep all workers busy. Consecutive ones form a group. When all of a group are
done, workers merge them, four at a time, and what is left comes here. What goes wrong:

* a worker dies: Dask runs its shards elsewhere, and also those that it had done and that are not merged yet; when more
  workers than its setting `allowed-failures` says have died of one shard, that ends the run;
* a shard cannot be read: it is tried again, on another worker where there is one, three times in all;
* the scheduler is lost, or with the last worker what only it had: groups that have not come in begin anew, twice;
* no worker is left, or the scheduler does not come back: the run ends after a minute.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple

from mxquant.distributed.environment import common_environment
from mxquant.distributed.failures import ShardFailure, named
from mxquant.distributed.parcel import Parcel
from mxquant.distributed.shards import Shard
from mxquant.distributed.worker import Task, merged, run_shard
from mxquant.errors import ClusterError, MXQuantError

__all__ = ["PATIENCE", "Dispatch", "workers_of"]

# Seconds to wait for a worker, or for the scheduler.
PATIENCE = 60.0
_POLL, _PROBE = 1.0, 5.0
_ATTEMPTS = 3
_GROUP, _FAN_IN = 16, 4
_AHEAD = 2
_log = logging.getLogger(__name__)


def workers_of(client: Any, patience: Optional[float] = None) -> List[str]:
    """Return the addresses of a cluster's workers, once there is one.

    Raises
    ------
    ClusterError
        If none comes, or the scheduler does not answer.
    """
    end = time.monotonic() + (PATIENCE if patience is None else patience)
    reason = "it has no workers"
    while True:
        try:
            found = list(client.nthreads())
            if found:
                return found
        except Exception as error:  # of the connection, which has many kinds of them
            reason = f"it does not answer: {type(error).__name__}: {error}"
        if time.monotonic() >= end:
            raise ClusterError(f"the scheduler at {_address(client)} is of no use: {reason}")
        time.sleep(min(_POLL, 0.2))


def _address(client: Any) -> str:
    return str(getattr(client.scheduler, "address", None) or client._start_arg)


@dataclass
class _Leaf:
    """A shard that is not done yet."""

    group: int
    shard: Shard
    data: Any
    future: Any = None
    failed: List[str] = field(default_factory=list)


@dataclass
class _Group:
    """Consecutive shards that are merged on workers."""

    shards: Sequence[Tuple[Shard, Any]]
    done: Dict[int, Any] = field(default_factory=dict)
    merging: Any = None
    attempts: int = 0


class _Lost(Exception):
    """What was on the cluster is gone."""


class Dispatch:
    """One run of all shards on a cluster.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    parcel : Parcel
        The networks, which go to every worker once.
    task : Task
        What is done with every shard.
    shards : sequence of (Shard, object)
        With what a worker gets of each: a data set, or something that Dask computes.
    report : callable, optional
        Called with the number of examples and of shards that are done.
    """

    def __init__(
        self,
        client: Any,
        parcel: Parcel,
        task: Task,
        shards: Sequence[Tuple[Shard, Any]],
        report: Optional[Callable[[int, int], None]] = None,
    ) -> None:
        self.client, self.parcel, self.task, self.report = client, parcel, task, report
        self.groups = {begin: _Group(shards[begin : begin + _GROUP]) for begin in range(0, len(shards), _GROUP)}
        self.examples = self.shards = 0
        self._own: Any = None
        self._restarts = 0
        self._workers: List[str] = []
        self._asked = -PATIENCE

    def results(self) -> Iterator[Tuple[int, int, Any]]:
        """Yield what comes of each group, with its first example and the one after its last, in no certain order.

        Raises
        ------
        MXQuantError
            If a shard cannot be done; it is named.
        ClusterError
            If workers or scheduler cannot do it.
        """
        try:
            while self.groups:
                try:
                    with self._round():
                        while self.groups:
                            yield from self._step()
                except _Lost as lost:
                    self._restarts += 1
                    if self._restarts >= _ATTEMPTS:
                        raise ClusterError(
                            f"{lost}, {_ATTEMPTS} times; {self.shards} shards are done, the first that is not is "
                            f"{next(iter(self.groups.values())).shards[0][0]}"
                        ) from None
                    _log.warning("%s; %d shards are done, the others begin anew", lost, self.shards)
                    self._reconnect()
        finally:
            if self._own is not None:
                self._own.close()

    @contextmanager
    def _round(self) -> Iterator[None]:
        """Send the networks out, and let everything go in the end."""
        workers_of(self.client)
        environment = common_environment(self.client)
        difference = self.task.environment.difference(environment)
        if difference is not None:
            raise ClusterError(f"a worker {difference}")
        self._events: queue.Queue[Tuple[str, Any]] = queue.Queue()
        self._name, self._numbers = uuid.uuid4().hex[:8], count()
        self._running: Dict[str, _Leaf] = {}
        self._waiting: Deque[_Leaf] = deque()
        self._heard = time.monotonic()
        for number, group in self.groups.items():
            self._begin(number, group)
        self._parcel = self._ask("scatter", [self.parcel], broadcast=True, hash=False)[0]
        try:
            yield
        finally:
            held = [leaf.future for leaf in self._running.values()]
            held += [future for group in self.groups.values() for future in (*group.done.values(), group.merging)]
            with suppress(Exception):  # the scheduler may be gone, and with it what is to be cancelled
                if self.client.status == "running":
                    self.client.cancel([self._parcel, *(future for future in held if future is not None)])
            self._parcel = None

    def _begin(self, number: int, group: _Group) -> None:
        self.shards -= len(group.done)
        self.examples -= sum(shard.size for shard, _ in group.shards if shard.number in group.done)
        group.done, group.merging = {}, None
        self._waiting.extend(_Leaf(number, shard, data) for shard, data in group.shards)

    def _step(self) -> Iterator[Tuple[int, int, Any]]:
        """Keep the workers busy, and take note of one thing that happens."""
        while self._waiting and len(self._running) < _AHEAD * len(self._known_workers()):
            self._submit(self._waiting.popleft())
        try:
            key, future = self._events.get(timeout=_POLL)
        except queue.Empty:
            self._look()
            return
        self._heard = time.monotonic()
        status = future.status
        if status in ("cancelled", "lost"):
            raise _Lost(f"the cluster at {_address(self.client)} has lost what was to be done")
        if key in self._running:
            self._leaf(self._running.pop(key), future, status)
            return
        number = int(key.rpartition("-")[2])
        try:
            found = future.result(timeout=PATIENCE)
        except Exception as error:
            self._merging_failed(number, error, future.status)
            return
        group = self.groups.pop(number)
        for each in (future, *group.done.values()):
            each.release()
        yield group.shards[0][0].begin, group.shards[-1][0].end, found

    def _ask(self, what: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client."""
        try:
            return getattr(self.client, what)(*arguments, **options)
        except Exception as error:  # of the connection, which has many kinds of them
            message = f"the cluster at {_address(self.client)} does not answer: {type(error).__name__}: {error}"
            raise _Lost(message) from error

    def _known_workers(self) -> List[str]:
        if time.monotonic() - self._asked > _POLL:
            with suppress(Exception):  # _look tells what is wrong with the connection
                self._workers = list(self.client.nthreads())
            self._asked = time.monotonic()
        return self._workers

    def _submit(self, leaf: _Leaf) -> None:
        # A worker that could not read it does not get it again, if there are others: it would be the first to be free.
        others = [worker for worker in self._known_workers() if worker not in leaf.failed] if leaf.failed else None
        data = leaf.data
        if hasattr(data, "__dask_graph__"):
            data = self._ask("compute", data, workers=others or None, retries=_ATTEMPTS - 1)
        key = f"mxquant-{self._name}-{next(self._numbers)}-shard-{leaf.shard.number}"
        leaf.future = self._ask(
            "submit",
            run_shard,
            self._parcel,
            self.task,
            leaf.shard,
            data,
            key=key,
            workers=others or None,
            allow_other_workers=bool(others),
            pure=False,
        )
        self._running[key] = leaf
        leaf.future.add_done_callback(partial(self._note, self._events, key))

    @staticmethod
    def _note(events: queue.Queue[Tuple[str, Any]], key: str, future: Any) -> None:
        events.put((key, future))

    def _leaf(self, leaf: _Leaf, future: Any, status: str) -> None:
        if status == "error":
            error = future.exception()
            future.release()
            self._failed(leaf, error)
            return
        group = self.groups[leaf.group]
        group.done[leaf.shard.number] = future
        self.shards, self.examples = self.shards + 1, self.examples + leaf.shard.size
        if self.report is not None:
            self.report(self.examples, self.shards)
        if len(group.done) == len(group.shards):
            self._merge(leaf.group, group)

    def _merge(self, number: int, group: _Group) -> None:
        parts = [group.done[shard.number] for shard, _ in group.shards]
        while len(parts) > 1:
            cuts = range(0, len(parts), _FAN_IN)
            parts = [self._ask("submit", merged, *parts[i : i + _FAN_IN], pure=False, priority=1) for i in cuts]
        group.merging = parts[0]
        key = f"mxquant-{self._name}-{next(self._numbers)}-group-{number}"
        group.merging.add_done_callback(partial(self._note, self._events, key))

    def _merging_failed(self, number: int, error: Exception, status: str) -> None:
        """Begin a group anew: a worker died with what it had done of it, and doing that again failed."""
        if status in ("cancelled", "lost") or "Cancelled" in type(error).__name__:
            raise _Lost(f"the cluster at {_address(self.client)} has lost what was done") from error
        group = self.groups[number]
        group.attempts += 1
        if group.attempts >= _ATTEMPTS or (isinstance(error, ShardFailure) and not error.again):
            self._raise(group.shards[0][0], error, [])
        _log.warning("%s and what follows begin anew: %s", group.shards[0][0], error)
        self._begin(number, group)

    def _failed(self, leaf: _Leaf, error: BaseException) -> None:
        worker = error.worker if isinstance(error, ShardFailure) else ""
        leaf.failed.append(worker)
        last = type(error).__name__ == "KilledWorker" or (isinstance(error, ShardFailure) and not error.again)
        if last or len(leaf.failed) >= _ATTEMPTS:
            self._raise(leaf.shard, error, leaf.failed)
        _log.warning("%s: %s; trying again", leaf.shard, error.error if isinstance(error, ShardFailure) else error)
        self._submit(leaf)

    def _raise(self, shard: Shard, error: BaseException, tried: Sequence[str]) -> None:
        if type(error).__name__ == "KilledWorker":
            deaths = getattr(error, "allowed_failures", 0) + 1
            raise ClusterError(
                f"{shard}: {deaths} workers died while they ran it; their logs may tell why. If their memory was too "
                "small, make batches smaller"
            ) from None
        more = ""
        if len(tried) > 1:
            workers = ", ".join(sorted(set(filter(None, tried)))) or "workers that could not begin"
            more = f"; tried {len(tried)} times, on {workers}"
        found = named(shard, error.error if isinstance(error, ShardFailure) else error, more)
        assert isinstance(found, MXQuantError)
        raise found from None

    def _look(self) -> None:
        """Find out whether the cluster is still there, when nothing has happened for a while."""
        if self.client.status not in ("running", "connecting"):
            raise _Lost(f"the scheduler at {_address(self.client)} is gone")
        if time.monotonic() - self._heard < _PROBE:
            return
        self._heard = time.monotonic()
        workers_of(self.client)
        if not any(self._ask("who_has", [self._parcel]).values()):
            raise _Lost(f"the cluster at {_address(self.client)} has lost the network")

    def _reconnect(self) -> None:
        """Wait until the scheduler and a worker are there again."""
        import distributed

        connect: Any = distributed.Client
        address, security = _address(self.client), self.client.security
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fresh = connect(address, timeout=_PROBE, set_as_default=False, security=security)
                break
            except (OSError, TimeoutError) as error:
                if time.monotonic() >= end:
                    raise ClusterError(f"the scheduler at {address} is gone; {self.shards} shards were done") from error
                time.sleep(_POLL)
        if self._own is not None:
            self._own.close()
        self.client = self._own = fresh
        workers_of(fresh)
