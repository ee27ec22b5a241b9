"""How long it takes to import mxquant: ``python -m tests.benchmark.imports [--before COMMIT]``.

Every import runs in a process of its own, with one thread. With a commit, its tree takes turns with this one. Times are
medians of user and system time, which waiting for a disk or another process does not change.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

from tests.benchmark.trees import trees

STATEMENTS = ("import mxquant", "import mxquant; mxquant.quantize", "import mxquant; mxquant.export_onnx")
RUNS = 9


def seconds(statement: str, tree: Path) -> float:
    """Return the processor time of a process that runs a statement with the package of a tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], env=environment, cwd=tree, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(trees: Dict[str, Path], runs: int) -> str:
    """Return the medians as Markdown, a column for each tree, and the ratio of the last to the first."""
    lines = [f"| statement | {' | '.join(trees)} | ratio |", "| --- |" + " --- |" * (len(trees) + 1)]
    for statement in STATEMENTS:
        found: Dict[str, List[float]] = {name: [] for name in trees}
        for tree in trees.values():
            seconds(statement, tree)  # compiles
        for _ in range(runs):
            for name, tree in trees.items():
                found[name].append(seconds(statement, tree))
        medians = [statistics.median(times) for times in found.values()]
        cells = " | ".join(f"{value:.2f} s" for value in medians)
        lines.append(f"| `{statement}` | {cells} | {medians[-1] / medians[0]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time imports.")
    parser.add_argument("--before", metavar="COMMIT", help="a commit to compare with")
    parser.add_argument("--runs", type=int, default=RUNS)
    chosen = parser.parse_args()
    with trees(chosen.before) as found:
        print(table(found, chosen.runs))


if __name__ == "__main__":
    main()
