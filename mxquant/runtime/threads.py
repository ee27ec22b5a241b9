"""Work that does not hold the interpreter's lock, divided among threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Callable, Iterable, List, TypeVar

from mxquant.runtime.processors import THREADS, usable_processors

__all__ = ["in_parallel", "number_of_threads"]

Part = TypeVar("Part")
Result = TypeVar("Result")


def number_of_threads() -> int:
    """Return how many threads to use: as many as MXNet may."""
    wanted = os.environ.get(THREADS, "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else _processors()


_processors = lru_cache(maxsize=1)(usable_processors)


def in_parallel(function: Callable[[Part], Result], parts: Iterable[Part]) -> List[Result]:
    """Call a function on each part; return the results in order.

    Parameters
    ----------
    function : callable
        Takes one part; must not call this function again.
    parts : iterable
        What to call it on.

    Returns
    -------
    list
        Its results. An exception of any call is raised.
    """
    todo = list(parts)
    results: List[Any] = [None] * len(todo)
    left = iter(range(len(todo)))

    def work() -> None:
        for index in left:
            results[index] = function(todo[index])

    # The caller works too: a processor that it only waited on would often be shared by two of the others.
    threads = number_of_threads()
    helpers = [_pool(os.getpid(), threads).submit(work) for _ in range(min(threads, len(todo)) - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.result()
    return results


# A process made by fork has no threads of the pool that it inherits, so it gets one of its own.
@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1)
