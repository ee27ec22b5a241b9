"""MXNet gets the cores that the process may use, unless the user has said something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from mxquant.runtime.processors import THREADS, enough_threads, usable_processors, warn_of_few_threads

ROOT = Path(__file__).parents[2]
CORES = usable_processors()


def machine(folder: Path, siblings: Dict[int, str], cgroup: str = "", **files: str) -> Path:
    """Write what /sys and /proc of a machine say."""
    for processor, text in siblings.items():
        path = folder / f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n")
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return folder


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


def test_threads_of_one_core_count_once(tmp_path: Path) -> None:
    assert usable_processors(machine(tmp_path / "a", {i: f"{i % 4},{i % 4 + 4}" for i in range(8)})) == 4
    assert usable_processors(machine(tmp_path / "b", {i: str(i) for i in range(8)})) == 8
    assert usable_processors(tmp_path / "nothing is known") == 8


def test_only_processors_of_the_affinity_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4})
    assert usable_processors(machine(tmp_path, {i: f"{i % 4},{i % 4 + 4}" for i in range(8)})) == 2


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu_max": "300000 100000"}, 3),
        ("0::/\n", {"cpu_max": "350000 100000"}, 3),
        ("0::/\n", {"cpu_max": "50000 100000"}, 1),
        ("0::/\n", {"cpu_max": "max 100000"}, 8),
        ("0::/a/b\n", {"a__cpu_max": "200000 100000", "a__b__cpu_max": "max 100000"}, 2),
        ("0::/of/the/host\n", {"cpu_max": "200000 100000"}, 2),
        (
            "4:cpu,cpuacct:/x\n2:cpuset:/x\n",
            {"cpu__x__cpu_cfs_quota_us": "400000", "cpu__x__cpu_cfs_period_us": "100000"},
            4,
        ),
        ("4:cpu,cpuacct:/x\n", {"cpu__x__cpu_cfs_quota_us": "-1", "cpu__x__cpu_cfs_period_us": "100000"}, 8),
    ],
)
def test_a_quota_is_obeyed(tmp_path: Path, cgroup: str, files: Dict[str, str], expected: int) -> None:
    assert usable_processors(machine(tmp_path, {i: str(i) for i in range(8)}, cgroup, **files)) == expected


def test_mxnet_is_told_while_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    with enough_threads():
        assert os.environ[THREADS] == str(usable_processors())
    assert THREADS not in os.environ


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "3")
    with enough_threads():
        assert os.environ[THREADS] == "3"
    assert os.environ[THREADS] == "3"


@pytest.mark.parametrize("variable", [False, True])
def test_nothing_is_told_where_mxnet_knows_or_the_user_has_decided(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: bool
) -> None:
    monkeypatch.setattr("mxquant.runtime.processors.usable_processors", lambda: 8)
    monkeypatch.setattr("mxquant.runtime.processors._given", not variable)
    monkeypatch.delenv(THREADS, raising=False)
    if variable:
        monkeypatch.setenv(THREADS, "1")
    warn_of_few_threads()
    assert not caplog.records


@pytest.mark.parametrize(("usable", "said"), [(8, True), (5, True), (4, False), (1, False)])
def test_if_mxnet_came_first_the_loss_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, usable: int, said: bool
) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr("mxquant.runtime.processors.usable_processors", lambda: usable)
    monkeypatch.setattr("mxquant.runtime.processors._given", False)
    warn_of_few_threads()
    text = (
        f"uses 4 of the {usable} processor cores that it may; import mxquant before it, or set OMP_NUM_THREADS={usable}"
    )
    assert (text in caplog.text) == said
    assert bool(caplog.records) == said


def test_mxnet_counts_the_processors_of_the_affinity(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr("mxquant.runtime.processors.usable_processors", lambda: 2)
    monkeypatch.setattr("mxquant.runtime.processors._given", False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5}, raising=False)
    warn_of_few_threads()
    assert "uses 1 of the 2 processor cores" in caplog.text


RUN = """
import os
import {first}
import mxquant
from mxquant.runtime.mxnet import mx
x, w = mx.nd.ones((8, 64, 56, 56)), mx.nd.ones((64, 64, 3, 3))
mx.nd.Convolution(x, w, kernel=(3, 3), num_filter=64, no_bias=True).wait_to_read()
import scipy.stats  # MXNet alone brings it, with threads of its own
print(len(os.listdir("/proc/self/task")))
"""


def threads_of(first: str) -> int:
    """Return how many threads a process has after a parallel loop of MXNet's."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(first=first)],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return int(done.stdout)


@pytest.mark.skipif((os.cpu_count() or 1) // 2 >= CORES, reason="MXNet's half of the processors are all cores")
def test_a_process_that_imports_mxquant_first_has_more_threads() -> None:
    by_hook = threads_of("mxquant, mxnet")
    with_mxquant, without = threads_of("mxquant"), threads_of("tests.mxnet_first")
    assert with_mxquant == by_hook > without
