"""``mxquant doctor`` hands a network and data to the diagnosis, and saves the report."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List

import pytest

import mxquant
from mxquant.runtime.data import batches


@dataclass
class Diagnosis:
    """What a diagnosis has, as far as the command knows."""

    verdict: str
    given: Dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        return {"layers": 3}

    def save(self, path: Any) -> None:
        Path(path).write_text("<html></html>", encoding="utf-8")


def stand_in(monkeypatch: pytest.MonkeyPatch) -> List[Diagnosis]:
    """Put a module in the place of mxquant.doctor that notes what it is given."""
    made: List[Diagnosis] = []

    def diagnose(net: Any, data: Any, **options: Any) -> Diagnosis:
        count = sum(batch.size for batch in batches(data, ["data"]))
        made.append(Diagnosis("int8 is as good as fp32", {"examples": count, **options}))
        return made[-1]

    module: Any = ModuleType("mxquant.doctor")
    module.diagnose = diagnose
    monkeypatch.setitem(sys.modules, "mxquant.doctor", module)
    return made


def test_the_verdict_is_printed_and_the_report_saved(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stand_in(monkeypatch)
    done = call(
        "doctor",
        "-m",
        "net",
        "-d",
        "calib.npy",
        "-n",
        "6",
        "-o",
        "report.html",
        "-q",
        "--isa",
        "avx2",
        "--target",
        "cudnn",
    )
    assert (done.code, done.err) == (0, "")
    assert "int8 is as good as fp32" in done.out and "report.html" in done.out
    assert (folder / "report.html").read_text() == "<html></html>"
    given = made[0].given
    assert (given["examples"], given["num_examples"], given["isa"]) == (6, 6, "avx2")
    assert given["target"] == "cudnn"
    assert given["progress"] is False and given["int8"] is None


def test_an_int8_network_is_examined_as_it_is(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stand_in(monkeypatch)
    done = call("doctor", "-m", "net", "-d", "calib.npy", "-o", "report.html", "--int8", "net-int8", "--json")
    assert done.code == 0
    assert done.json["verdict"] == "int8 is as good as fp32" and done.json["diagnosis"] == {"layers": 3}
    assert done.json["report"] == "report.html"
    assert made[0].given["int8"].plan == mxquant.load("net-int8").plan and "target" not in made[0].given
    again = call("doctor", "-m", "net", "-d", "calib.npy", "-o", "r.html", "--int8", "net-int8", "--isa", "vnni")
    assert again.code == 2 and "quantized already" in again.err


def test_a_report_that_cannot_be_written_is_noticed_first(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stand_in(monkeypatch)
    done = call("doctor", "-m", "net", "-d", "calib.npy", "-o", "nowhere/report.html")
    assert done.code == 2 and done.err == "error: --out: there is no folder 'nowhere'\n"
    assert made == []
