"""Calls a function of a benchmark in a process of its own, with a number of threads, and returns what it returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any

__all__ = ["call"]


def call(function: str, *arguments: Any, threads: int = 2) -> Any:
    """Return the result of a function.

    Parameters
    ----------
    function : str
        ``module:name`` within :mod:`tests.benchmark`.
    *arguments
        What JSON can hold; so is the result.
    threads : int
        What MXNet may use.

    Raises
    ------
    RuntimeError
        If the process fails, with the last line that it wrote.
    """
    command = [sys.executable, "-m", __name__, function, json.dumps(arguments)]
    settings = {**os.environ, "OMP_NUM_THREADS": str(threads), "MXNET_SUBGRAPH_VERBOSE": "0"}
    done = subprocess.run(command, env=settings, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function}{arguments}: {(done.stderr.strip().splitlines() or [done.returncode])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    print(json.dumps(getattr(import_module(f"tests.benchmark.{module}"), name)(*json.loads(sys.argv[2]))))
