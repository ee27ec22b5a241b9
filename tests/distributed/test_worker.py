"""What a worker tells of itself."""

from __future__ import annotations

from typing import List

import pytest

from mxquant.distributed import worker


def test_a_cpu_of_another_level_that_comes_later_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: List[str] = []
    monkeypatch.setattr("distributed.worker.warn", said.append)
    monkeypatch.setattr(worker, "_told", [])
    monkeypatch.setattr(worker, "detect", lambda: "vnni")
    for levels in (frozenset({"avx2", "vnni"}), frozenset(), frozenset({"avx2"}), frozenset({"avx2"})):
        worker.tell_of_level("tcp://a:1", levels)
    (sentence,) = said
    assert sentence.startswith("worker tcp://a:1 came later, and its CPU is of level vnni, others are of avx2: ")
