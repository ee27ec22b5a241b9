"""Networks go to the workers that do not have them, each once; workers pass them on to each other."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Dict, List, Sequence, Tuple

from mxquant.distributed import patience
from mxquant.distributed.parcel import Packed, Parcel
from mxquant.distributed.patience import asked
from mxquant.distributed.shelf import lacking, put
from mxquant.shown import logger

__all__ = ["Delivery"]

_POLL = 0.05
_URGENT = 10
_log = logger(__name__)


class Delivery:
    """What one run sends of its networks.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    parcel : Parcel
        The networks.
    """

    def __init__(self, client: Any, parcel: Parcel) -> None:
        self.client = client
        self.networks: Dict[str, Packed] = {each.name: each for each in parcel.networks}
        self._sent: Dict[str, Any] = {}
        self._held: List[Any] = []

    def begin(self, workers: Sequence[str]) -> None:
        """Bring the networks to all workers that lack them, and wait for that; one that dies meanwhile is left out.

        Raises
        ------
        ClusterError
            If the cluster does not answer.
        """
        names = tuple(self.networks)
        answers = asked(self.client, "run", lacking, names, workers=list(workers), on_error="return")
        wanted = {worker: tuple(each) for worker, each in answers.items() if isinstance(each, list)}
        waiting = [(worker, future) for worker, each in wanted.items() for future in self.to(worker, each, strict=True)]
        if waiting:
            count = len({worker for worker, _ in waiting})
            _log.info("sending %d networks to %d workers", len(waiting) // count, count)
        end = time.monotonic() + patience.PATIENCE
        while waiting and time.monotonic() < end:
            time.sleep(_POLL)
            waiting = [(worker, future) for worker, future in waiting if not future.done()]
            if waiting:
                there = asked(self.client, "nthreads")
                waiting = [(worker, future) for worker, future in waiting if worker in there]

    def to(self, worker: str, names: Tuple[str, ...], strict: bool = False) -> List[Any]:
        """Bring networks to one worker; return the futures of that.

        If it dies meanwhile these never come, where `strict`, or they go elsewhere.
        """
        found = []
        for name in names:
            sent = self._sent.get(name)
            if sent is None or sent.status != "finished":
                self._sent[name] = asked(self.client, "scatter", [self.networks[name]], workers=[worker], hash=False)[0]
            future = asked(
                self.client,
                "submit",
                put,
                self._sent[name],
                workers=[worker],
                allow_other_workers=not strict,
                pure=False,
                priority=_URGENT,
            )
            found.append(future)
        self._held += found
        return found

    def end(self) -> None:
        """Let go of what Dask holds; the workers' own shelves stay."""
        held, self._held, self._sent = [*self._held, *self._sent.values()], [], {}
        with suppress(Exception):  # the scheduler may be gone, and with it what is to be cancelled
            if held and self.client.status == "running":
                self.client.cancel(held)
