"""Shards go to workers, and what comes of them is merged in trees on the workers; each shard counts once.

Only as many shards are on their way as keep all workers busy. Consecutive ones form a group, of a tenth of all at most.
When all of a group are done, workers merge them, four at a time, and what is left comes here; so does what is done of
unfinished groups, twice a minute: what is here is not lost with the cluster. What goes wrong:

* a worker dies: Dask runs its shards elsewhere, and also those that it had done and that are not merged yet; when more
  workers than its setting `allowed-failures` says have died of one shard, that ends the run;
* a worker lacks the network, since it has come later: it is brought;
* a shard cannot be read: it is tried again, on another worker where there is one, three times in all;
* the scheduler is lost: groups that have not come in begin anew, twice;
* no worker is left, or the scheduler does not come back: the run ends after a minute.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, groupby
from operator import itemgetter
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from mxquant.distributed import patience
from mxquant.distributed.connection import opened
from mxquant.distributed.delivery import Delivery
from mxquant.distributed.environment import common_environment
from mxquant.distributed.failures import ShardFailure, named
from mxquant.distributed.parcel import Parcel
from mxquant.distributed.patience import NoAnswer, address_of, asked
from mxquant.distributed.shards import Shard
from mxquant.distributed.shelf import MissingNetwork
from mxquant.distributed.worker import Task, merged, run_shard
from mxquant.errors import ClusterError, MXQuantError
from mxquant.shown import logger

__all__ = ["Dispatch", "workers_of"]

_POLL, _PROBE = 1.0, 5.0
_ATTEMPTS, _MISSES = 3, 20
_GROUP, _SHARE, _FAN_IN = 16, 10, 4
_HOME = 30.0
_AHEAD = 2
_log = logger(__name__)


def workers_of(client: Any, seconds: Optional[float] = None) -> List[str]:
    """Return the addresses of a cluster's workers, once there is one.

    Raises
    ------
    ClusterError
        If none comes, or the scheduler does not answer.
    """
    end = time.monotonic() + (patience.PATIENCE if seconds is None else seconds)
    reason = "it has no workers"
    while True:
        try:
            found = list(asked(client, "nthreads"))
            if found:
                return found
        except NoAnswer as error:
            reason = str(error)
        if time.monotonic() >= end:
            raise ClusterError(f"the scheduler at {address_of(client)} is of no use: {reason}")
        time.sleep(min(_POLL, 0.2))


@dataclass
class _Leaf:
    """A shard that is not done yet."""

    group: int
    shard: Shard
    data: Any
    future: Any = None
    failed: List[str] = field(default_factory=list)
    missed: int = 0


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
        The networks, which go to every worker that lacks them.
    task : Task
        What is done with every shard.
    shards : sequence of (Shard, object)
        With what a worker gets of each: a data set, or something that Dask computes.
    report : callable, optional
        Called with the number of examples and of shards that are done.
    told : set of str, optional
        Warnings about the workers that were given before.
    """

    def __init__(
        self,
        client: Any,
        parcel: Parcel,
        task: Task,
        shards: Sequence[Tuple[Shard, Any]],
        report: Optional[Callable[[int, int], None]] = None,
        told: Optional[Set[str]] = None,
    ) -> None:
        self.client, self.parcel, self.task, self.report = client, parcel, task, report
        self.told: Set[str] = set() if told is None else told
        size = min(_GROUP, max(1, len(shards) // _SHARE))
        # By the number of the first shard.
        self.groups = {begin: _Group(shards[begin : begin + size]) for begin in range(0, len(shards), size)}
        self.examples = self.shards = 0
        self._own: Any = None
        self._restarts = 0
        self._workers: List[str] = []
        self._asked = self._home = time.monotonic()

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
                    self._count_workers()
                except (_Lost, NoAnswer) as lost:
                    self._restarts += 1
                    if self._restarts >= _ATTEMPTS:
                        raise ClusterError(
                            f"{lost}, {_ATTEMPTS} times; {self.shards} shards are done, the first that is not is "
                            f"{self.groups[min(self.groups)].shards[0][0]}"
                        ) from None
                    _log.warning("%s; %d shards are done, the others begin anew", lost, self.shards)
                    self._reconnect()
        finally:
            # The traceback of an error may keep this object, and with it what the cluster would keep.
            self.groups = {}
            if self._own is not None:
                self._own.close()

    @contextmanager
    def _round(self) -> Iterator[None]:
        """Send the networks out, and let everything go in the end."""
        self._workers = workers_of(self.client)
        environment = common_environment(self.client, self.told)
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
        self._delivery = Delivery(self.client, self.parcel)
        try:
            self._delivery.begin(self._workers)
            yield
        finally:
            held = [leaf.future for leaf in self._running.values()]
            held += [future for group in self.groups.values() for future in (*group.done.values(), group.merging)]
            with suppress(Exception):  # the scheduler may be gone, and with it what is to be cancelled
                if self.client.status == "running":
                    self.client.cancel([future for future in held if future is not None])
            self._delivery.end()
            self._running, self._events = {}, queue.Queue()

    def _begin(self, number: int, group: _Group) -> None:
        self.shards -= len(group.done)
        self.examples -= sum(shard.size for shard, _ in group.shards if shard.number in group.done)
        for future in (*group.done.values(), group.merging):
            if future is not None:
                future.release()
        group.done, group.merging = {}, None
        self._waiting.extend(_Leaf(number, shard, data) for shard, data in group.shards)

    def _step(self) -> Iterator[Tuple[int, int, Any]]:
        """Keep the workers busy, and take note of one thing that happens."""
        while self._waiting and len(self._running) < _AHEAD * len(self._known_workers()):
            self._submit(self._waiting.popleft())
        if time.monotonic() - self._home >= _HOME:
            self._bring_home()
        try:
            key, future = self._events.get(timeout=_POLL)
        except queue.Empty:
            self._look()
            return
        self._heard = time.monotonic()
        status = future.status
        if status in ("cancelled", "lost"):
            raise _Lost(f"the cluster at {address_of(self.client)} has lost what was to be done")
        if key in self._running:
            self._leaf(self._running.pop(key), future, status)
            return
        number = int(key.rpartition("-")[2])
        try:
            found = future.result(timeout=patience.PATIENCE)
        except Exception as error:
            self._merging_failed(number, error, future.status)
            return
        if isinstance(found, MissingNetwork):  # on a worker that does again what one that died had done
            self._delivery.to(found.worker, found.names)
            self._begin_anew(number, f"worker {found.worker} lacked the network")
            return
        group = self.groups.pop(number)
        for each in (future, *group.done.values()):
            each.release()
        yield group.shards[0][0].begin, group.shards[-1][0].end, found

    def _bring_home(self) -> None:
        """Let what is done of unfinished groups come here: each run of such shards becomes a group of its own."""
        self._home = time.monotonic()
        for number, group in list(self.groups.items()):
            if not group.done or group.merging is not None:
                continue
            del self.groups[number]
            finished = [(shard.number in group.done, (shard, data)) for shard, data in group.shards]
            for done, run in groupby(finished, itemgetter(0)):
                part = _Group([each for _, each in run], attempts=group.attempts)
                first = part.shards[0][0].number
                self.groups[first] = part
                if done:
                    part.done = {shard.number: group.done[shard.number] for shard, _ in part.shards}
                    self._merge(first, part)
                inside = {shard.number for shard, _ in part.shards}
                for leaf in (*self._running.values(), *self._waiting):
                    if leaf.shard.number in inside:
                        leaf.group = first

    def _ask(self, what: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client that does not wait for an answer."""
        try:
            return getattr(self.client, what)(*arguments, **options)
        except Exception as error:  # of the connection, which has many kinds of them
            message = f"the cluster at {address_of(self.client)} does not answer: {type(error).__name__}: {error}"
            raise NoAnswer(message) from error

    def _known_workers(self) -> List[str]:
        if time.monotonic() - self._asked > _POLL:
            self._count_workers()
        return self._workers

    def _count_workers(self) -> None:
        """Ask which workers there are; tell of those that are gone."""
        with suppress(NoAnswer):  # _look tells what is wrong with the connection
            found = list(asked(self.client, "nthreads"))
            gone = sorted(set(self._workers) - set(found))
            self._workers = found
            if gone:
                more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
                _log.warning(
                    "workers that are gone: %s%s; what they had not handed over others do, of which there are %d",
                    ", ".join(gone[:3]),
                    more,
                    len(found),
                )
        self._asked = time.monotonic()

    def _submit(self, leaf: _Leaf, after: Sequence[Any] = ()) -> None:
        # A worker that could not read it does not get it again, if there are others: it would be the first to be free.
        others = [worker for worker in self._known_workers() if worker not in leaf.failed] if leaf.failed else None
        data = leaf.data
        if hasattr(data, "__dask_graph__"):
            data = self._ask("compute", data, workers=others or None, retries=_ATTEMPTS - 1)
        key = f"mxquant-{self._name}-{next(self._numbers)}-shard-{leaf.shard.number}"
        leaf.future = self._ask(
            "submit",
            run_shard,
            tuple(each.name for each in self.parcel.networks),
            self.task,
            leaf.shard,
            data,
            after=list(after),
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
        missing = self._missing(future)
        if missing is not None:
            future.release()
            self._bring(leaf, missing)
            return
        group = self.groups[leaf.group]
        group.done[leaf.shard.number] = future
        self.shards, self.examples = self.shards + 1, self.examples + leaf.shard.size
        if self.report is not None:
            self.report(self.examples, self.shards)
        if len(group.done) == len(group.shards):
            self._merge(leaf.group, group)

    def _missing(self, future: Any) -> Optional[MissingNetwork]:
        """Return what a worker lacked for a shard; what comes of others stays where it is."""
        found = asked(self.client, "gather", future) if future.type is MissingNetwork else None
        return found if isinstance(found, MissingNetwork) else None  # another worker may have done it again

    def _bring(self, leaf: _Leaf, missing: MissingNetwork) -> None:
        """Bring a network to a worker, and let the shard be done after that."""
        leaf.missed += 1
        if leaf.missed > _MISSES:
            self._raise(leaf.shard, ClusterError(f"worker {missing.worker} does not keep the networks it is sent"), [])
        self._submit(leaf, self._delivery.to(missing.worker, missing.names))

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
            raise _Lost(f"the cluster at {address_of(self.client)} has lost what was done") from error
        group = self.groups[number]
        group.attempts += 1
        if group.attempts >= _ATTEMPTS or (isinstance(error, ShardFailure) and not error.again):
            self._raise(group.shards[0][0], error, [])
        self._begin_anew(number, error)

    def _begin_anew(self, number: int, reason: object) -> None:
        group = self.groups[number]
        _log.warning("%s and what follows begin anew: %s", group.shards[0][0], reason)
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
            raise _Lost(f"the scheduler at {address_of(self.client)} is gone")
        if time.monotonic() - self._heard < _PROBE:
            return
        self._heard = time.monotonic()
        workers_of(self.client)

    def _reconnect(self) -> None:
        """Wait until the scheduler and a worker are there again."""
        address, security = address_of(self.client), self.client.security
        end = time.monotonic() + patience.PATIENCE
        while True:
            try:
                fresh = opened(address, security, _PROBE)
                break
            except ClusterError as error:
                if time.monotonic() >= end:
                    raise ClusterError(f"the scheduler at {address} is gone; {self.shards} shards were done") from error
                time.sleep(_POLL)
        if self._own is not None:
            self._own.close()
        self.client = self._own = fresh
        workers_of(fresh)
