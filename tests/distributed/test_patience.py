"""A call that takes too long is left alone, and what it returns later is looked after."""

from __future__ import annotations

import queue
import threading
from typing import List

import pytest

from mxquant.distributed.patience import within


def test_an_answer_in_time_is_returned_and_an_error_raised() -> None:
    late: List[int] = []
    assert within(30.0, lambda: 3, late.append) == 3 and not late
    with pytest.raises(ZeroDivisionError):
        within(30.0, lambda: 1 // 0, late.append)
    assert not late


def test_an_answer_that_comes_too_late_is_looked_after() -> None:
    go, late = threading.Event(), queue.Queue()  # type: ignore[var-annotated]
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        within(0.01, lambda: go.wait(30), late.put)
    go.set()
    assert late.get(timeout=30) is True
