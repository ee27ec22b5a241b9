"""Work is divided among as many threads as MXNet may use."""

from __future__ import annotations

import threading

import pytest

from mxquant.runtime.processors import usable_processors
from mxquant.runtime.threads import in_parallel, number_of_threads


@pytest.mark.parametrize("wanted, number", [("3", 3), ("1", 1), ("0", None), ("", None), ("2,4", None), ("-1", None)])
def test_the_number_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, wanted: str, number: object) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert number_of_threads() == (number or usable_processors())


def test_results_come_in_order_and_from_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    both = threading.Barrier(2, timeout=20)

    def work(part: int) -> int:
        both.wait()
        return part * part

    assert in_parallel(work, range(4)) == [0, 1, 4, 9]


def test_an_exception_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda part: 1 // part, [1, 0, 2])
