"""ONNX's own tests of single operators are right or refused by name: none is wrong, and none ends the process."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import onnx
import pytest

from mxquant.onnx_import.reader import OPERATORS
from tests.onnx_import.node_tests import REFUSED, RIGHT

# Of how many tests, in a version of ONNX, at least so many are right.
KNOWN = {"1.23": (1884, 422)}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> List[Dict[str, Any]]:
    """Return a dictionary of each test; one without a verdict has ended its process."""
    journal = tmp_path_factory.mktemp("node_tests") / "journal"
    found: List[Dict[str, Any]] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while True:
        command = [sys.executable, "-W", "ignore", "-m", "tests.onnx_import.node_tests", str(journal), str(len(found))]
        code = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode
        before, found = len(found), _read(journal)
        if code == 0:
            return found
        assert len(found) > before, "the process ends before it has run anything"


def _read(journal: Path) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = []
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        read = json.loads(line)
        if "name" in read:
            found.append(read)
        else:
            found[-1].update(read)
    return found


def test_they_are_right_or_refused(results: List[Dict[str, Any]]) -> None:
    assert not [each for each in results if each.get("verdict") not in (RIGHT, REFUSED)]


def test_a_refusal_names_an_operator(results: List[Dict[str, Any]]) -> None:
    refused = [each for each in results if each["verdict"] == REFUSED]
    assert not [
        each
        for each in refused
        if not any(f"({op})" in each["said"] or f" {op} (" in each["said"] for op in each["operators"])
    ]


def test_as_many_are_right_as_have_been(results: List[Dict[str, Any]]) -> None:
    version = ".".join(onnx.__version__.split(".")[:2])
    if version not in KNOWN:
        pytest.skip(f"counted for ONNX {', '.join(KNOWN)}, not for {version}")
    counts = collections.Counter(each["verdict"] for each in results)
    total, right = KNOWN[version]
    assert (len(results), counts[RIGHT]) >= (total, right)


def test_operators_that_are_read_are_among_them(results: List[Dict[str, Any]]) -> None:
    tested = {op for each in results for op in each["operators"]}
    # Of MaxRoiPool there is none.
    assert set(OPERATORS) - tested <= {"MaxRoiPool"}
