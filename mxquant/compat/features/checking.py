"""All features are tried, a group in each process and two processes at a time, and what came of it is told."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from mxquant.compat.features import GROUPS
from mxquant.compat.features.feature import Outcome
from mxquant.compat.starting import started

__all__ = ["check", "outcomes", "summary"]

# No group takes a third of it, where two share two cores that are not busy.
_LIMIT = 240.0


def check(tell: Callable[[str], object], as_json: bool = False, groups: Sequence[str] = GROUPS) -> int:
    """Try all features, and tell in one line what came of each, and in one what came of all of them.

    Parameters
    ----------
    tell : callable
        Is called with each line once it is known; a reason in it may be the text of any exception.
    as_json : bool
        Tell one JSON document instead.
    groups : sequence of str
        The modules of checks.

    Returns
    -------
    int
        1 if one failed, else 0.
    """
    found: List[Outcome] = []
    for outcome in outcomes(groups):
        found.append(outcome)
        if not as_json:
            tell(": ".join(filter(None, (outcome.feature, outcome.state, outcome.reason))))
    last = {"summary": summary(found), **_versions()}
    tell(json.dumps({"features": [asdict(each) for each in found], **last}, indent=1) if as_json else last["summary"])
    return int(any(each.state == "failed" for each in found))


def summary(found: Sequence[Outcome]) -> str:
    """Return the line that says how many features work, and where.

    Parameters
    ----------
    found : sequence of Outcome
        Of all checks.
    """
    states = [each.state for each in found]
    skipped = f", {states.count('skipped')} skipped" if "skipped" in states else ""
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return f"{states.count('ok')} of {len(states) - states.count('skipped')} features work{skipped}; {versions}"


def outcomes(groups: Sequence[str] = GROUPS) -> Iterator[Outcome]:
    """Yield what came of each check, in order.

    Parameters
    ----------
    groups : sequence of str
        The modules of checks.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=min(2, processors)) as pool:
        for found in pool.map(_of_group, groups):
            yield from found


def _of_group(group: str) -> List[Outcome]:
    """Run a group, and go on in a new process behind a check that ends or stops the one before."""
    found: List[Outcome] = []
    while True:
        names, more, end = _run(group, len(found))
        found += more
        if len(found) >= len(names):
            return found
        found.append(Outcome(names[len(found)], "failed", end))


def _run(group: str, first: int) -> Tuple[List[str], List[Outcome], str]:
    """Return the names of all checks of a group, the outcomes that a process told of, and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        # MXNet takes one thread, since two groups run at a time.
        variables = {"OMP_NUM_THREADS": "1", "MXNET_SUBGRAPH_VERBOSE": "0"}
        command, environment = started("mxquant.compat.features.child", group, str(first), **variables)
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            text, _ = process.communicate(timeout=_LIMIT)
            end = f"the process ended with status {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            end = f"no end after {_LIMIT:.0f} seconds"
    lines = [json.loads(line) for line in text.splitlines() if line.endswith(("]", "}"))]
    if not lines:
        return [group], [Outcome(group, "failed", end)], end
    return lines[0], [Outcome(**line) for line in lines[1:]], end


def _versions() -> Dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"Python": platform.python_version()}
    for name, package in (("NumPy", "numpy"), ("MXNet", "mxnet")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "(none)"
    return found
