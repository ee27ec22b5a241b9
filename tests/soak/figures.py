"""The figures of all long runs in one table: ``python -m tests.soak.figures FOLDER``, of what they wrote there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

Row = Tuple[str, object]
# What random networks come to; others than these are failures.
VERDICTS = {
    "right": "as near to fp32 as predicted",
    "refused": "refused, with the reason",
    "invalid": "that MXNet cannot run in fp32",
}


def rows(found: Dict[str, Dict[str, Any]]) -> Iterator[Row]:
    """Yield what was tried, and what came of it."""
    files = found.get("hostile_files")
    if files:
        yield f"damaged files, of {files['formats']} kinds", files["files"]
        yield "refused with an error of mxquant's", files["refused"]
        yield "read, up to a forward pass", files["read"]
        yield (
            "processes that died, or hung; files that took ten seconds",
            f"{files['died']}, {files['hung']}; {files['slow']}",
        )
        yield "anything else", len(files["wrong"]) - files["died"] - files["hung"] - files["slow"]
    faults = found.get("faults")
    if faults:
        yield "faults, and what was looked at after them", faults["injected"]
        yield from ((f"faults: {kind}", count) for kind, count in faults["faults"].items())
        yield "files that load wrong after a fault", len(faults["lost"])
    long = found.get("long_run")
    if long:
        for kind, count in (("calibration", "batches"), ("inference", "inferences"), ("quantization", "quantizations")):
            part = long[kind]
            yield f"{part[count]} {count} in one process: megabytes grown", round(part["grown"] / 1e6, 2)
        yield f"{long['threads']['threads']} threads at once: other bytes", len(long["threads"]["different"])
    graphs = found.get("random_onnx")
    if graphs:
        outcomes = graphs["outcomes"]
        yield "random ONNX graphs", graphs["graphs"]
        yield "random ONNX graphs: as ONNX Runtime computes them", outcomes.get("agrees", 0)
        yield "random ONNX graphs: refused, with the reason", outcomes.get("refused", 0)
        yield "random ONNX graphs: that ONNX Runtime cannot run", outcomes.get("invalid", 0)
        yield "anything else, a process that died for one", len(graphs["wrong"])
    random = found.get("random_networks")
    if random:
        yield "random networks", random["networks"]
        yield from (
            (f"random networks: {VERDICTS.get(verdict, verdict)}", count)
            for verdict, count in random["verdicts"].items()
        )
        yield (
            "random networks equal to the simulation to the last code",
            random["equal to the simulation to the last code"],
        )
        yield (
            "the least SQNR above its bound, dB; below it, if negative",
            round(-random["largest excess over the bound, dB"], 1),
        )
        yield "processes that died of a random network", random["deaths"]
        yield "processes that died of one in MXNet's own fp32", random["deaths in MXNet's own fp32"]
        yield "random networks that failed", random["failed"]


def main() -> None:
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in Path(sys.argv[1]).glob("*.json")}
    print("| | |\n|---|---|")
    for name, value in rows(found):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
