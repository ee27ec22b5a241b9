"""Int8 of trained networks that mxquant was not tuned to, beside ONNX Runtime's own tool and NNCF.

::

    python -m tests.benchmark.trained [--networks NAME ...] [--accuracy PRESET ...] [--table FILE] [--json FILE]

To repeat it: in the environment that ci/test.sh makes, with nothing else running on the machine. A network takes one to
ten minutes. The networks come from PyPI packages, of which nothing is imported. The peers are put into .venv-peers,
which takes a Python of 3.11 or later.

========  ==============================================================================================================
column    meaning
========  ==============================================================================================================
SQNR dB   of each output, beside the fp32 network in ONNX Runtime, on examples that nothing was calibrated on
figure    what the output is worth to who uses it, where fp32 is taken for the truth
time      int8 over fp32 in the same runtime, in turns, median; two threads
seconds   what mxquant took, from the fp32 file to the int8 file
========  ==============================================================================================================

Of each peer the settings with the highest SQNR are shown: chosen on the very examples that score, which favours them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "2")

from tests.benchmark.machine import described, machine
from tests.benchmark.peers.environment import ROOT, peers_python
from tests.benchmark.trained.packages import unpacked

PHOTOS = "foolbox==3.3.3"


def called(python: str, module: str, *arguments: object) -> str:
    """Return what a module of this folder prints, run by an interpreter."""
    command = [python, "-m", f"tests.benchmark.trained.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-3:]))
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def rows_of(name: str, entry: Dict[str, Any], folder: Path, presets: Sequence[str], peers: str) -> List[Dict[str, Any]]:
    """Return what comes out for one network."""
    file = unpacked(entry["package"], folder) / entry["file"]
    photos = unpacked(PHOTOS, folder) / "foolbox" / "data"
    called(peers, "material", photos, folder, name)
    made, failed = {}, []
    for preset in presets:
        out = folder / f"{name}-{preset}.onnx"
        try:
            told = called(sys.executable, "ours", file, folder / f"{name}-calibration.npz", entry["batch"], out, preset)
            made[preset] = {**json.loads(told), "file": out}
        except RuntimeError as error:
            failed.append({"title": f"mxquant {preset}", "runtime": "-", "error": str(error).splitlines()[-1]})
    files = [f"mxquant {preset}={each['file']}" for preset, each in made.items()]
    rows = json.loads(called(peers, "peers", name, file, folder, *files))
    for row in rows:
        row["seconds"] = made.get(row["title"].split()[-1], {}).get("seconds")
    return [*failed, *rows]


def cells(row: Dict[str, Any], between: str) -> List[str]:
    """Return what a row that did not fail says in the last columns."""
    levels = between.join(f"{level:.1f}" for level in row["sqnr"])
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
    return [levels, f"{row['figure']:.3f}", f"{row['ratio']:.2f}", seconds]


def print_rows(name: str, meaning: str, rows: Sequence[Dict[str, Any]]) -> None:
    """Print the table of one network."""
    print(f"\n{name} ({meaning})\n{'':28s}{'runtime':14s}{'SQNR dB':>20s}{'figure':>9s}{'time':>7s}{'seconds':>9s}")
    for row in rows:
        head = f"{row['title']:28s}{row['runtime']:14s}"
        if "error" in row:
            print(f"{head} {row['error']}")
            continue
        print("{}{:>20s}{:>9s}{:>7s}{:>9s}".format(head, *cells(row, " ")), flush=True)


def markdown(results: Dict[str, List[Dict[str, Any]]], known: Dict[str, Any]) -> str:
    """Return one table of all networks."""
    threads = os.environ["OMP_NUM_THREADS"]
    lines = [
        f"{described(machine())} {threads} threads. On examples that nothing was calibrated on. Of each peer the "
        "settings with the highest SQNR are shown, chosen on these very examples.",
        "",
        "| network | what | runtime | SQNR, dB | figure | time | s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, rows in results.items():
        for row in rows:
            head = f"| {name} | {row['title']} | {row['runtime']} |"
            if "error" in row:
                lines.append(f"{head} fails | | | |")
                continue
            levels, figure, *others = cells(row, " / ")
            lines.append(" | ".join([f"{head} {levels}", f"{known[name]['meaning']} {figure}", *others]) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Print a table for each network."""
    peers = peers_python()
    known = json.loads(called(peers, "networks"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(known), choices=list(known), help="default: all")
    parser.add_argument("--accuracy", nargs="+", default=["fast", "balanced"], choices=["fast", "balanced", "best"])
    parser.add_argument("--table", type=Path, metavar="FILE", help="write all as one table in Markdown there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep packages and files there")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.networks:
            results[name] = rows_of(name, known[name], folder.resolve(), options.accuracy, peers)
            print_rows(name, known[name]["meaning"], results[name])
    if options.table:
        options.table.write_text(markdown(results, known), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
