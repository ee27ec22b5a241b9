"""Short forms of the long runs: some hundred damaged files, full disks, killed processes, threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.soak.material import network

ROOT = Path(__file__).resolve().parents[2]


def soak(module: str, *words: str) -> Dict[str, Any]:
    """Run one of the modules in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.soak.{module}", *words],
        cwd=str(ROOT),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_network_has_the_same_names_each_time() -> None:
    assert network()[0].tojson() == network()[0].tojson()


def test_damaged_files_are_refused_or_read_and_nothing_dies() -> None:
    found = soak("hostile_files", "--count", "138", "--seed", "11", "--processes", "1")
    assert found["wrong"] == []
    assert found["refused"] + found["read"] == found["files"] == 138
    assert found["refused"] > 60 and found["read"] > 5


def test_full_disks_leave_what_was_there() -> None:
    found = soak("faults", "--only", "full_disks")
    assert found["lost"] == []
    assert found["faults"]["disk full"] > 20


def test_random_onnx_graphs_agree_with_onnxruntime_or_are_refused() -> None:
    found = soak("random_onnx", "--count", "150", "--seed", "0")
    assert found["wrong"] == []
    assert found["outcomes"]["agrees"] > 110


@pytest.mark.slow
def test_killed_processes_leave_all_or_nothing_and_calibrations_go_on() -> None:
    found = soak("faults", "--kills", "3", "--seconds", "5", "--seed", "1")
    assert found["lost"] == []
    assert found["faults"]["kill -9 of save"] == 3
    assert found["faults"]["the same bytes after kill -9"] >= 1


@pytest.mark.slow
def test_memory_stays_flat_and_threads_give_the_same_bytes() -> None:
    assert soak("long_run", "--batches", "1000")["wrong"] == []
