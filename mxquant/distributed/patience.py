"""Calls that answer within a time, or not at all: what a network may keep silent about ends all the same."""

from __future__ import annotations

import threading
from typing import Any, Callable, List, Optional, TypeVar

from mxquant.errors import ClusterError

__all__ = ["PATIENCE", "NoAnswer", "address_of", "asked", "within"]

# Seconds to wait for a worker, or for the scheduler.
PATIENCE = 60.0
_Found = TypeVar("_Found")


class NoAnswer(ClusterError):
    """The scheduler does not answer: it is gone, or hangs."""


def within(seconds: float, call: Callable[[], _Found], late: Optional[Callable[[_Found], object]] = None) -> _Found:
    """Return what a call returns, or raise what it raises.

    Parameters
    ----------
    seconds : float
        How long it may take. A call that takes longer is left alone, in a thread that does not keep the process.
    call : callable
        Takes nothing.
    late : callable, optional
        What is done with an answer that comes too late, in that thread.

    Raises
    ------
    TimeoutError
        If it takes longer.
    """
    found: List[_Found] = []
    raised: List[BaseException] = []
    done, alone, either = threading.Event(), threading.Event(), threading.Lock()

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # for the thread that waits
            raised.append(error)
        with either:
            done.set()
        if alone.is_set() and found and late is not None:
            late(found[0])

    threading.Thread(target=run, name="mxquant-waits", daemon=True).start()
    if not done.wait(seconds):
        with either:
            if not done.is_set():
                alone.set()
                raise TimeoutError(f"no answer within {seconds:.0f} s")
    if raised:
        raise raised[0]
    return found[0]


def asked(client: Any, what: str, *arguments: Any, times: int = 1, **options: Any) -> Any:
    """Call a method of a client that asks the scheduler or the workers, and wait for the answer.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    what : str
        The method.
    *arguments, **options
        For it.
    times : int
        How many times :data:`PATIENCE` to wait.

    Raises
    ------
    ClusterError
        A :class:`NoAnswer`, if none comes, whatever the reason.
    """
    try:
        return within(times * PATIENCE, lambda: getattr(client, what)(*arguments, **options))
    except Exception as error:  # of the connection, which has many kinds of them
        raise NoAnswer(
            f"the cluster at {address_of(client)} does not answer: {type(error).__name__}: {error}"
        ) from error


def address_of(client: Any) -> str:
    """Return the address of a client's scheduler."""
    return str(getattr(getattr(client, "scheduler", None), "address", None) or getattr(client, "_start_arg", "?"))
