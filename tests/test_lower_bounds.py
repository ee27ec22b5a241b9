"""No lower bound of setup.py has a vulnerability that is listed, but for those that are left with a reason."""

from __future__ import annotations

import datetime
import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Dict, List

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def script() -> Any:
    """Return ci/advisories.py as a module."""
    spec = spec_from_file_location("advisories_of_ci", ROOT / "ci" / "advisories.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ci = script()
LISTED: Dict[str, Any] = json.loads((ROOT / "ci" / "advisories.json").read_text(encoding="utf-8"))
WANTED: List[Requirement] = ci.requirements()


def too_low(wanted: List[Requirement], python: str) -> List[Any]:
    """Return the advisories about lower bounds for which there is no reason."""
    left = ci.left_on(python, LISTED)
    return [each for each in ci.found_in(wanted, python, LISTED) if each[0] not in left]


@pytest.mark.parametrize("python", ci.PYTHONS)
def test_lower_bounds_are_sound(python: str) -> None:
    assert too_low(WANTED, python) == []


@pytest.mark.parametrize("advisory", LISTED["advisories"], ids=lambda each: each["id"])
def test_a_bound_set_too_low_is_found(advisory: Dict[str, Any]) -> None:
    lowest = "0.1" if advisory["introduced"] == "0" else advisory["introduced"]
    names = {each[0] for each in ci.found_in([Requirement(f"{advisory['package']}>={lowest}")], "3.12", LISTED)}
    assert advisory["id"] in names
    if advisory["fixed"] is not None:
        sound = ci.found_in([Requirement(f"{advisory['package']}>={advisory['fixed']}")], "3.12", LISTED)
        assert advisory["id"] not in {each[0] for each in sound}


@pytest.mark.parametrize(
    ("line", "python", "wrong"),
    [
        ("jinja2>=3.1.5,<4", "3.8", {"GHSA-cpwx-vrp4-4pq7"}),
        ("jinja2==3.1.6", "3.8", set()),
        ('requests>=2.32.4; python_version < "3.10"', "3.9", set()),
        ("requests>=2.32.4", "3.10", {"CVE-2026-25645"}),
        ('requests>=2.20; python_version < "3.9"', "3.10", set()),
    ],
)
def test_reasons_count_for_their_own_python_alone(line: str, python: str, wrong: Any) -> None:
    assert {each[0] for each in too_low([Requirement(line)], python)} == wrong


def test_what_is_left_is_about_a_bound_that_is_there() -> None:
    found = {(name, python) for python in ci.PYTHONS for name, _, _ in ci.found_in(WANTED, python, LISTED)}
    assert {(each["id"], python) for each in LISTED["left"] for python in each["pythons"]} == found
    assert all(each["why"].endswith(".") for each in LISTED["left"])


def test_what_is_left_stands_in_the_security_notes() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "aiohttp, pytest, scikit-learn | eight," in text
    left = {each["id"] for each in LISTED["left"]}
    advisories = [each for each in LISTED["advisories"] if each["id"] in left]
    few = ("aiohttp", "pytest", "scikit-learn")
    assert sum(each["package"] in few for each in advisories) == 8
    for each in advisories:
        assert each["package"] in few or any(name in text for name in (each["id"], *each["aliases"])), each


def test_every_python_is_asked_for_the_same_packages() -> None:
    packages = [sorted({name for name, _ in ci.bounds(WANTED, python)} - {"mxnet"}) for python in ci.PYTHONS]
    assert all(each == packages[0] for each in packages)
    assert {each["package"] for each in LISTED["advisories"]} - {"mxnet"} <= set(packages[0])


def test_the_list_says_when_and_where_it_was_read() -> None:
    assert datetime.date.fromisoformat(LISTED["read"]) >= datetime.date(2026, 11, 30)
    names = [name for each in LISTED["advisories"] for name in (each["id"], *each["aliases"])]
    assert len(set(names)) == len(names) - 1, "one CVE is about two packages, dask and distributed"
    form = r"CVE-\d{4}-\d{4,}|PYSEC-\d{4}-\d+|GHSA(-[23456789cfghjmpqrvwx]{4}){3}"
    assert [name for name in names if not re.fullmatch(form, name)] == []
    assert {each["source"] for each in LISTED["advisories"]} <= {*LISTED["sources"], "PyPI"}
    for each in LISTED["advisories"]:
        assert each["fixed"] is None or Version(each["introduced"]) < Version(each["fixed"])


def test_setup_is_read_and_setuptools_is_what_it_was() -> None:
    before = sys.modules.get("setuptools")
    assert {"numpy", "jinja2", "cryptography"} <= {each.name for each in ci.requirements()}
    assert sys.modules.get("setuptools") is before
    with pytest.raises(ValueError, match="has 0 lower bounds, expected one"):
        ci.lower_bound(Requirement("numpy<3"))


def test_what_pypi_knows_besides_is_told_as_an_entry() -> None:
    known = {"id": "PYSEC-1", "aliases": ["CVE-2025-27516"], "fixed_in": ["3.1.6"]}
    new = {"id": "GHSA-new", "aliases": ["CVE-9"], "fixed_in": ["2.9", "2.10"], "withdrawn": None}
    gone = {"id": "GHSA-gone", "withdrawn": "2026-01-01"}
    wanted = [Requirement("jinja2>=2.8"), Requirement("plotly>=5")]
    answers = {"jinja2": [known, new, gone], "plotly": None}
    *lines, last = ci.unlisted(wanted, LISTED, lambda package, version: answers[package])
    assert [json.loads(line) for line in lines] == [
        {
            "id": "GHSA-new",
            "aliases": ["CVE-9"],
            "package": "jinja2",
            "introduced": "0",
            "fixed": "2.10",
            "source": "PyPI",
        }
    ]
    assert last == "PyPI does not answer for plotly 5"


def test_the_script_fails_where_a_bound_is_too_low(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert ci.main([]) == 0
    assert "RAISE THE BOUND" not in capsys.readouterr().out
    monkeypatch.setattr(ci, "requirements", lambda: [Requirement("jinja2>=3")])
    assert ci.main([]) == 1
    assert "jinja2 3: GHSA-cpwx-vrp4-4pq7; RAISE THE BOUND in setup.py" in capsys.readouterr().out
