"""The scheduler dies: whenever that is, a sentence tells how to go on, and what was counted is there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Iterator, List

import pytest

import mxquant
from mxquant.cli.running import run
from mxquant.distributed import calibration, patience
from mxquant.distributed.connection import connect
from mxquant.distributed.dispatch import workers_of
from mxquant.runtime.mxnet import mx
from tests.distributed.conftest import Net
from tests.distributed.processes import Processes

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as made:
        made.start_scheduler()
        made.start_worker()
        with connect(made.address, seconds=60.0) as client:
            workers_of(client)
        yield made


@pytest.fixture
def words(net: Net, folder: Path, tmp_path: Path, monkeypatch: Any) -> List[str]:
    monkeypatch.chdir(tmp_path)
    mx.model.save_checkpoint("net", 0, net.symbol, **net.params)
    return ["calibrate", "-m", "net", "-d", str(folder / "data.npy"), "-b", "8", "-q"]


def error(capsys: Any) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error: ")]
    return str(line)


def test_in_the_opening_query(processes: Processes, words: List[str], monkeypatch: Any, capsys: Any) -> None:
    asks = calibration.common_environment

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(patience, "PATIENCE", 4.0)
        processes.end(processes.schedulers)
        return asks(*arguments)

    monkeypatch.setattr(calibration, "common_environment", late)
    begin = time.monotonic()
    assert run([*words, "-o", "x.npz", "--scheduler", processes.address]) == 2
    assert time.monotonic() - begin < 60
    line = error(capsys)
    assert line.startswith(f"error: the cluster at {processes.address} does not answer: ")
    assert line.endswith("nothing was counted yet: the same command begins anew, with --resume or without")
    assert not Path("x.npz.partial").exists()


def test_in_the_middle_of_the_work(processes: Processes, words: List[str], monkeypatch: Any, capsys: Any) -> None:
    add, came = calibration._Counted.add, []  # type: ignore[var-annotated]

    def noted(self: Any, begin: int, end: int, found: Any) -> None:
        add(self, begin, end, found)
        came.append(end)
        if len(came) == 4:
            monkeypatch.setattr(patience, "PATIENCE", 4.0)
            processes.end(processes.schedulers)

    monkeypatch.setattr(calibration._Counted, "add", noted)
    begin = time.monotonic()
    there = ["-o", "there.npz", "--scheduler", processes.address]
    assert run([*words, *there]) == 2
    assert time.monotonic() - begin < 120
    line = error(capsys)
    count = mxquant.Statistics.load("there.npz.partial").num_examples
    assert f"the scheduler at {processes.address} is gone; " in line
    assert f"'there.npz.partial' keeps the calibration on {count} examples, and the same command with --resume" in line
    # One worker does its shards in order, two batches in each.
    assert count >= 4 * 16
    monkeypatch.setattr(calibration._Counted, "add", add)
    assert run([*words, *there]) == 2
    assert "is of a calibration that was interrupted; add --resume to go on from it" in error(capsys)
    # A cluster that is still not there leaves the file alone.
    monkeypatch.setitem(connect.__kwdefaults__, "seconds", 3.0)
    assert run([*words, *there, "--resume"]) == 2
    assert "no scheduler answers at" in error(capsys) and Path("there.npz.partial").exists()
    assert run([*words, "-o", "there.npz", "--resume"]) == 0
    assert run([*words, "-o", "here.npz"]) == 0
    assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()
    assert not Path("there.npz.partial").exists()


def test_a_scheduler_that_hangs_is_no_different(processes: Processes, words: List[str], capsys: Any) -> None:
    """One that is stopped keeps its connections and is silent."""
    import signal

    for process in processes.schedulers:
        process.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    assert run([*words, "-o", "x.npz", "--scheduler", processes.address]) == 2
    assert time.monotonic() - begin < 30
    assert f"error: --scheduler: what answers at '{processes.address}' says nothing for " in error(capsys)
