"""A scheduler and workers that are processes of their own: what happens when they are killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from distributed import Client

import mxquant
from mxquant.datasets import ArrayFile
from mxquant.distributed import calibrate, dispatch, patience
from mxquant.errors import ClusterError
from tests.distributed.conftest import Net
from tests.distributed.processes import Processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as made:
        made.start_scheduler()
        for _ in range(2):
            made.start_worker()
        yield made


@pytest.fixture
def data(folder: Path) -> ArrayFile:
    return ArrayFile.of(str(folder / "data.npy"), batch_size=8)


def once(at: int, action: Callable[[], None]) -> Callable[..., None]:
    """Return a function for `progress` that does something when so many examples are done."""
    done: List[int] = []

    def report(step: str, count: int, total: int) -> None:
        if count >= at and not done:
            done.append(count)
            action()

    return report


def impatient(monkeypatch: Any, processes: Processes, which: List[Any]) -> None:
    """End processes, and wait for nobody from then on."""
    monkeypatch.setattr(patience, "PATIENCE", 3.0)
    processes.end(which)


def saved(statistics: mxquant.Statistics, path: Path) -> bytes:
    statistics.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_scheduler_that_is_restarted(
    processes: Processes, net: Net, data: ArrayFile, tmp_path: Path, how: int
) -> None:

    def restart() -> None:
        processes.end(processes.schedulers, how)
        processes.end(processes.workers)
        processes.start_scheduler()
        processes.start_worker()

    with Client(processes.address, timeout=60) as client:
        progress = once(50, restart)
        found = calibrate(client, net.symbol, data, shard_size=8, progress=progress, **net.params)
    alone = mxquant.calibrate(net.symbol, data, **net.params)
    assert saved(found, tmp_path / "found.npz") == saved(alone, tmp_path / "alone.npz")


def test_a_scheduler_that_does_not_come_back_ends_the_run_and_what_was_counted_is_kept(
    processes: Processes, net: Net, data: ArrayFile, tmp_path: Path, monkeypatch: Any
) -> None:
    with Client(processes.address, timeout=60) as client:
        dispatch.workers_of(client)
        begin = time.monotonic()
        with pytest.raises(ClusterError, match=f"the scheduler at {processes.address} is gone"):
            calibrate(
                client,
                net.symbol,
                data,
                shard_size=8,
                checkpoint=tmp_path / "partial.npz",
                progress=once(60, lambda: impatient(monkeypatch, processes, processes.schedulers)),
                **net.params,
            )
        assert time.monotonic() - begin < 90
    resumed = mxquant.calibrate(net.symbol, data, checkpoint=tmp_path / "partial.npz", **net.params)
    alone = mxquant.calibrate(net.symbol, data, **net.params)
    assert saved(resumed, tmp_path / "resumed.npz") == saved(alone, tmp_path / "alone.npz")


def test_workers_that_all_die_end_the_run(processes: Processes, net: Net, data: ArrayFile, monkeypatch: Any) -> None:
    with Client(processes.address, timeout=60) as client:
        dispatch.workers_of(client)
        with pytest.raises(ClusterError, match="is of no use: it has no workers"):
            progress = once(20, lambda: impatient(monkeypatch, processes, processes.workers))
            calibrate(client, net.symbol, data, shard_size=8, progress=progress, **net.params)


def test_a_worker_that_comes_after_all_have_died_goes_on(
    processes: Processes, net: Net, data: ArrayFile, tmp_path: Path
) -> None:
    def replace() -> None:
        processes.end(processes.workers)
        processes.start_worker()

    with Client(processes.address, timeout=60) as client:
        found = calibrate(client, net.symbol, data, shard_size=8, progress=once(20, replace), **net.params)
    alone = mxquant.calibrate(net.symbol, data, **net.params)
    assert saved(found, tmp_path / "found.npz") == saved(alone, tmp_path / "alone.npz")
