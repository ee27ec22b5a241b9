"""Lower bounds of setup.py beside ci/advisories.json, the list of vulnerabilities that are known of what it asks for.

::

    .venv/bin/python ci/advisories.py          # what the list says of the lower bounds, for every Python; no network
    .venv/bin/python ci/advisories.py --ask    # and what PyPI says of them, which the list may not have yet

Each entry of the list has the id of an advisory, its other names, the package, the versions from ``introduced`` to
before ``fixed`` (null: there is none), and a source, which its head explains; ``read`` is the day on which they were
read. What is left, since a Python has no sound version or an old one stays supported, stands in ``left`` with the
reason.

Needs packaging, which pytest brings.
"""

from __future__ import annotations

import json
import runpy
import sys
import types
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "ci" / "advisories.json"
PYTHONS = tuple(f"3.{minor}" for minor in range(8, 15))
_PYPI = "https://pypi.org/pypi/{}/{}/json"


def requirements() -> List[Requirement]:
    """Return all that setup.py asks for, with its extras."""
    told: Dict[str, Any] = {}
    pretended = types.SimpleNamespace(find_packages=lambda **_: [], setup=told.update)
    before = sys.modules.get("setuptools")
    sys.modules["setuptools"] = pretended  # type: ignore[assignment]
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        sys.modules.pop("setuptools")
        if before is not None:
            sys.modules["setuptools"] = before
    lines = [*told["install_requires"], *(line for extra in told["extras_require"].values() for line in extra)]
    return [Requirement(line) for line in dict.fromkeys(lines)]


def lower_bound(requirement: Requirement) -> Version:
    """Return the oldest version that a requirement takes."""
    found = [each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    if len(found) != 1:
        raise ValueError(f"'{requirement}' has {len(found)} lower bounds, expected one")
    return Version(found[0])


def bounds(wanted: List[Requirement], python: str) -> Iterator[Tuple[str, Version]]:
    """Yield the packages that one Python is asked to have, with the oldest version of each."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    for each in wanted:
        if each.marker is None or each.marker.evaluate(environment):
            yield each.name.lower(), lower_bound(each)


def hits(advisory: Mapping[str, Any], package: str, version: Version) -> bool:
    """Return whether an advisory is about this version."""
    if advisory["package"] != package or version < Version(advisory["introduced"]):
        return False
    return advisory["fixed"] is None or version < Version(advisory["fixed"])


def found_in(wanted: List[Requirement], python: str, listed: Mapping[str, Any]) -> List[Tuple[str, str, Version]]:
    """Return the advisories about lower bounds on one Python: id, package and version."""
    return sorted(
        (advisory["id"], package, version)
        for package, version in set(bounds(wanted, python))
        for advisory in listed["advisories"]
        if hits(advisory, package, version)
    )


def left_on(python: str, listed: Mapping[str, Any]) -> Dict[str, str]:
    """Return what is known to be left on one Python: why, by id."""
    return {each["id"]: each["why"] for each in listed["left"] if python in each["pythons"]}


def fetched(package: str, version: Version) -> Optional[List[Dict[str, Any]]]:
    """Return what PyPI knows of a version; None where it does not answer that."""
    try:
        with urllib.request.urlopen(_PYPI.format(package, version), timeout=20) as answer:
            return list(json.load(answer)["vulnerabilities"])
    except (urllib.error.URLError, KeyError, ValueError, TimeoutError):
        return None


Fetch = Callable[[str, Version], Optional[List[Dict[str, Any]]]]


def unlisted(wanted: List[Requirement], listed: Mapping[str, Any], fetch: Fetch = fetched) -> Iterator[str]:
    """Yield a line for each thing that PyPI says of lower bounds and the list does not, as entries of the list."""
    known = {name for each in listed["advisories"] for name in (each["id"], *each["aliases"])}
    for package, version in sorted({bound for python in PYTHONS for bound in bounds(wanted, python)}):
        answer = fetch(package, version)
        if answer is None:
            yield f"PyPI does not answer for {package} {version}"
        for each in answer or ():
            names = {each["id"], *each.get("aliases", ())}
            if not names & known and not each.get("withdrawn"):
                fixed = max(map(Version, each.get("fixed_in") or ()), default=None)
                entry = {"id": each["id"], "aliases": sorted(names - {each["id"]}), "package": package}
                yield json.dumps({**entry, "introduced": "0", "fixed": fixed and str(fixed), "source": "PyPI"})


def main(arguments: List[str]) -> int:
    """Tell of each Python what is left and what should not be; 1 if there is any of the latter."""
    listed, wanted, wrong = json.loads(LIST.read_text(encoding="utf-8")), requirements(), 0
    print(f"{len(listed['advisories'])} advisories, read on {listed['read']}")
    for python in PYTHONS:
        left = left_on(python, listed)
        for name, package, version in found_in(wanted, python, listed):
            wrong += name not in left
            print(f"Python {python}, {package} {version}: {name}; {left.get(name, 'RAISE THE BOUND in setup.py')}")
    if "--ask" in arguments:
        lines = list(unlisted(wanted, listed))
        wrong += len(lines)
        print(*lines, sep="\n" if lines else "", end="\n" if lines else "")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
