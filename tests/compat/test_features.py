"""The check of MXNet's features: all pass here, and what fails, dies, hangs or is missing is told as that."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

import mxquant
from mxquant.compat.features import GROUPS, checking
from mxquant.compat.features.child import outcome
from mxquant.compat.features.compare import close, equal, holds, raises
from mxquant.compat.features.feature import Feature, Outcome
from mxquant.runtime.mxnet import mx

ROOT = Path(mxquant.__file__).parents[1]
FEATURES: List[Feature] = [feature for group in GROUPS for feature in import_module(group).FEATURES]
# Processes that import MXNet anew, and large networks.
SLOW = (
    "DataLoader with workers by spawn",
    "DataLoader with workers by forkserver",
    "model zoo, one network of each family",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "feature", [pytest.param(each, id=each.name, marks=[pytest.mark.slow] * (each.name in SLOW)) for each in FEATURES]
)
def test_a_feature_works(feature: Feature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = outcome(feature)
    if found.state == "skipped":
        assert feature.needs and not all(map(find_spec, feature.needs))
        pytest.skip(found.reason)
    assert found.state == "ok", found.traceback


def test_names_and_slow_ones_are_there_once() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names) and set(SLOW) <= set(names)
    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork")


@pytest.mark.slow
def test_the_command_says_that_all_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mxquant.compat", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    *lines, last = found.stdout.splitlines()
    assert found.returncode == 0 and len(lines) == len(FEATURES), found.stdout
    skipped = sum(": skipped: " in line for line in lines)
    text = f"{len(lines) - skipped} of {len(lines) - skipped} features work"
    assert last.startswith(text) and last.endswith(f"NumPy {np.__version__}, MXNet {mx.__version__}")
    assert list(tmp_path.iterdir()) == []


TRIALS = """\
import os
import time
from mxquant.compat.features.compare import close, equal
from mxquant.compat.features.feature import Feature

def fine():
    print("noise")
    os.write(1, b"more noise")
    open("file", "w").close()
    equal(os.listdir(), ["file"])

def wrong():
    close([1.0, 2.0], [1.0, 2.5])

def dies():
    os._exit(3)

FEATURES = (
    Feature("fine", fine),
    Feature("wrong", wrong),
    Feature("dies", dies),
    Feature("fine as well", fine),
    Feature("not there", fine, ("os", "no_such_package", "nor_this")),
    Feature("hangs", lambda: time.sleep(100)),
)
"""


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "trials.py").write_text(TRIALS)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_what_fails_dies_hangs_or_is_missing(trials: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(checking, "_LIMIT", 20.0)
    told: List[str] = []
    assert checking.check(told.append, groups=["trials", "broken"]) == 1
    assert capsys.readouterr() == ("", "")
    *lines, last = told
    assert lines == [
        "fine: ok",
        "wrong: failed: AssertionError: 2.0 instead of 2.5",
        "dies: failed: the process ended with status 3",
        "fine as well: ok",
        "not there: skipped: no_such_package and nor_this not installed",
        "hangs: failed: no end after 20 seconds",
        "broken: failed: ModuleNotFoundError: No module named 'no_such_package'",
    ]
    assert last.startswith("2 of 6 features work, 1 skipped; Python ")


def test_one_document_of_json(trials: Path) -> None:
    (trials / "trials.py").write_text(TRIALS.replace("dies),", "fine),").replace("time.sleep(100)", "None"))
    told: List[str] = []
    assert checking.check(told.append, as_json=True, groups=["trials"]) == 1
    found = json.loads("".join(told))
    assert [each["state"] for each in found["features"]] == ["ok", "failed", "ok", "ok", "skipped", "ok"]
    assert "in wrong" in found["features"][1]["traceback"] and found["NumPy"] == np.__version__
    assert found["summary"].startswith("4 of 5 features work, 1 skipped; ") and found["Python"] in found["summary"]


def test_all_that_work_end_with_success(trials: Path) -> None:
    (trials / "trials.py").write_text(
        TRIALS.replace("wrong),", "fine),").replace("dies),", "fine),").split('    Feature("not')[0] + ")"
    )
    told: List[str] = []
    assert checking.check(told.append, groups=["trials"]) == 0
    assert told[-1].startswith("4 of 4 features work; Python ")


def test_reasons_are_one_line() -> None:
    def fails() -> None:
        mx.nd.ones((2, 3)).reshape((5, 5)).wait_to_read()

    found = outcome(Feature("x", fails))
    assert found.state == "failed" and "\n" not in found.reason and "Traceback" not in found.reason
    assert found.reason.startswith("MXNetError: ") and len(found.reason) > 30 and "in fails" in found.traceback


def test_an_outcome_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="not 'passed'"):
        Outcome("x", "passed")


def test_values_are_compared() -> None:
    ones = mx.nd.ones(3)
    close(ones, [1, 1, 1])
    close([1.0], [1.0001], 1e-3)
    equal(ones, np.ones(3, "f"))
    equal((1, "a"), (1, "a"))
    holds(np.bool_(True), "x")
    raises(ValueError, int, "x")
    for function, arguments in (
        (close, (ones, [1, 1, 1.1])),
        (close, (ones, [1, 1])),
        (close, (ones / 0, [np.inf] * 3)),
        (close, (mx.nd.array([np.nan]), [np.nan])),
        (close, (np.zeros(1, "u1"), np.full(1, 255, "u1"))),
        (equal, (ones, np.ones(3))),
        (equal, (ones, np.ones((3, 1), "f"))),
        (equal, (ones, np.array([1, 1, 2], "f"))),
        (equal, (1, 2)),
        (holds, (0, "x")),
        (raises, (ValueError, int, "1")),
    ):
        with pytest.raises(AssertionError):
            function(*arguments)


def test_importing_the_package_loads_no_check_and_no_numpy(tmp_path: Path) -> None:
    heavy = ("numpy", "numba", "mxnet", "mxquant.compat.features")
    code = f"import sys, mxquant.compat; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout == "[]\n", found.stderr


def test_the_page_has_the_numbers_of_the_command() -> None:
    page = (ROOT / "docs" / "compat.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (3\.\d+\.\d+) \| (\d\.\d+\.\d+) \| (\d+) of (\d+) \| (\d+)", page, re.M)
    assert len(rows) >= 10 and {int(total) + int(skipped) for *_, total, skipped in rows} == {len(FEATURES)}
    assert all(works == total for _, _, works, total, _ in rows)
    assert f"{len(FEATURES)} features" in page
