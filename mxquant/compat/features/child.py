"""One group of checks, run in this process: ``python -m mxquant.compat.features.child GROUP FIRST``.

What it finds goes to standard output, one JSON value per line: the names of all checks, then the outcome of each from
number FIRST on. What MXNet prints goes nowhere.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Tuple

from mxquant.compat.features.feature import Feature, Outcome

__all__ = ["main", "outcome"]


def outcome(feature: Feature) -> Outcome:
    """Run a check.

    Parameters
    ----------
    feature : Feature
        What is tried; its random numbers begin anew.
    """
    missing = [package for package in feature.needs if find_spec(package) is None]
    if missing:
        return Outcome(feature.name, "skipped", f"{' and '.join(missing)} not installed")
    begin = time.perf_counter()
    try:
        _seed()
        feature.check()
        _wait()
    except Exception as error:
        return Outcome(feature.name, "failed", _reason(error), _seconds(begin), traceback.format_exc())
    return Outcome(feature.name, "ok", "", _seconds(begin))


def _seed() -> None:
    import mxnet
    import numpy

    random.seed(0)
    numpy.random.seed(0)
    mxnet.random.seed(0)


def _wait() -> None:
    """Let what is still being computed raise what it has to."""
    import mxnet

    mxnet.nd.waitall()


def _seconds(begin: float) -> float:
    return round(time.perf_counter() - begin, 2)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # MXNet's own errors begin with a traceback of C++.
    text = next((line for line in lines if not line.startswith(("Traceback", "File ", "["))), "")
    kind = f"{type(error).__name__}: "
    return (text if text.startswith(kind) else kind + text)[:200]


def main(group: str, first: int) -> None:
    """Run the checks of a group.

    Parameters
    ----------
    group : str
        The name of its module.
    first : int
        The number of the check to begin with.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)

    def tell(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        features: Tuple[Feature, ...] = import_module(group).FEATURES
    except Exception as error:
        tell([group])
        tell(asdict(Outcome(group, "failed", _reason(error), 0.0, traceback.format_exc())))
        return
    tell([feature.name for feature in features])
    for feature in features[first:]:
        tell(asdict(outcome(feature)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
