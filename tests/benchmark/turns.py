"""Times of calls that take turns, so that noise of the machine hits all of them."""

from __future__ import annotations

import time
from typing import Callable, Dict, List, Mapping

__all__ = ["in_turns"]


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int, unmeasured: int = 1) -> Dict[str, List[float]]:
    """Return the seconds of each call in each round; the first rounds are `unmeasured`."""
    seconds: Dict[str, List[float]] = {name: [] for name in calls}
    for each in range(rounds + unmeasured):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if each >= unmeasured:
                seconds[name].append(time.perf_counter() - start)
    return seconds
