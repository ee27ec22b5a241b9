"""Random networks by the thousand: none may end the process, give a wrong number, or be refused without reason.

::

    python -m tests.soak.random_networks --count 2000 --seed 1 --out build/soak

Processes of their own check them, since what MXNet does to a process cannot be caught. The summary is printed as
JSON; networks that failed are reduced and kept in the folder, where ``--again FILE`` finds them. The exit code is 0 if
nothing failed, else 1.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from tests.soak.journal import Entry
from tests.soak.networks import Description
from tests.soak.processes import WORKER, run_worker
from tests.soak.reduction import reduced

__all__ = ["main", "soak", "summary"]

_SHARE = 50


def soak(
    count: int, seed: int, folder: Path, workers: int = 2, worker: Sequence[str] = WORKER, share: int = _SHARE
) -> List[Entry]:
    """Check random networks in other processes.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of all of them; with the same count the networks are the same.
    folder : Path
        Where journals go.
    workers : int
        How many processes at once.
    worker : sequence of str
        What Python runs.
    share : int
        How many networks a process checks, so that one that dies takes few with it.

    Returns
    -------
    list of Entry
        As many as `count`; those that a process died of have no outcome.
    """
    shares = [min(share, count - start) for start in range(0, count, share)]

    def run_share(number: int) -> List[Entry]:
        entries: List[Entry] = []
        attempt = 0
        while len(entries) < shares[number] and attempt <= shares[number]:
            # After a death other networks follow, since Hypothesis would draw the same again.
            arguments = ["--seed", str((seed * 10007 + number) * 101 + attempt)]
            arguments += ["--count", str(shares[number] - len(entries))]
            found = run_worker(arguments, folder / f"{number}-{attempt}.jsonl", worker)
            attempt += 1
            if not found and attempt > 3:
                raise RuntimeError("workers end before they have checked anything")
            entries += found
        return entries

    with ThreadPoolExecutor(workers) as pool:
        return [entry for entries in pool.map(run_share, range(len(shares))) for entry in entries]


def summary(entries: Sequence[Entry]) -> Dict[str, Any]:
    """Return what came out, in numbers."""
    outcomes = [entry.outcome for entry in entries if entry.outcome is not None]
    verdicts = collections.Counter(outcome.verdict for outcome in outcomes)
    refusals = collections.Counter(_kind(o.detail) for o in outcomes if o.verdict == "refused")
    right = [outcome for outcome in outcomes if outcome.verdict == "right"]
    excesses = [outcome.excess for outcome in outcomes if outcome.excess is not None]
    return {
        "networks": len(entries),
        "verdicts": dict(verdicts),
        "int8 layers": sum(outcome.int8 for outcome in right),
        "refused": dict(refusals.most_common()),
        "largest excess over the bound, dB": max(excesses, default=None),
        "equal to the simulation to the last code": sum(outcome.same is True for outcome in right),
        "not quite equal": sum(outcome.same is False for outcome in right),
        "deaths in MXNet's own fp32": sum(entry.is_death and not entry.is_finding for entry in entries),
        "deaths": sum(entry.is_death and entry.is_finding for entry in entries),
        "deaths by stage": dict(collections.Counter(entry.stage for entry in entries if entry.is_death)),
        "failed": sum(entry.is_finding for entry in entries),
    }


def _kind(detail: str) -> str:
    """Return an exception's type and the beginning of its message, without names and numbers."""
    return re.sub(r"'[^']*'|\d+(\.\d+)?", "…", detail)[:90]


def check_again(descriptions: Sequence[Description]) -> List[Entry]:
    """Check described networks in a process; where one kills it, the next in another."""
    entries: List[Entry] = []
    with tempfile.TemporaryDirectory() as folder:
        while len(entries) < len(descriptions):
            path = Path(folder) / f"{len(entries)}.json"
            left = descriptions[len(entries) :]
            path.write_text("".join(each.dumps() + "\n" for each in left), encoding="utf-8")
            found = run_worker(["--descriptions", str(path)], path.with_suffix(".jsonl"))
            entries += found or [Entry(left[0].dumps())]
    return entries


def reduce(entry: Entry) -> Description:
    """Return the smallest network found that fails as `entry` did."""

    def way(each: Entry) -> Optional[str]:
        return None if each.outcome is None else f"{each.outcome.verdict} {_kind(each.outcome.detail)[:30]}"

    def fails(descriptions: List[Description]) -> List[bool]:
        return [way(each) == way(entry) for each in check_again(descriptions)]

    return reduced(Description.loads(entry.description), fails)


def _kept(entries: Sequence[Entry], folder: Path, smaller: bool) -> Iterator[Path]:
    for number, entry in enumerate(each for each in entries if each.is_finding):
        found = reduce(entry) if smaller else Description.loads(entry.description)
        path = folder / f"failed-{number}.json"
        path.write_text(found.dumps() + "\n", encoding="utf-8")
        yield path


def main(arguments: Sequence[str]) -> int:
    """Check networks, print the summary, keep what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many networks")
    parser.add_argument("--seed", type=int, default=1, help="of the networks")
    parser.add_argument("--workers", type=int, default=2, help="processes at once")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder for journals and failed networks")
    parser.add_argument("--no-reduction", action="store_true", help="keep failed networks as they are")
    parser.add_argument("--again", type=Path, nargs="*", default=[], help="check these files instead")
    chosen = parser.parse_args(arguments)
    begin = time.monotonic()
    if chosen.again:
        described = [Description.loads(path.read_text(encoding="utf-8")) for path in chosen.again]
        entries = check_again(described)
    else:
        chosen.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=str(chosen.out)) as folder:
            entries = soak(chosen.count, chosen.seed, Path(folder), chosen.workers)
        for path in _kept(entries, chosen.out, not chosen.no_reduction):
            print(f"failed: {path}", file=sys.stderr)
    findings = [{"stage": each.stage, "outcome": str(each.outcome)} for each in entries if each.is_finding]
    document = {**summary(entries), "seconds": round(time.monotonic() - begin), "findings": findings}
    print(json.dumps(document, indent=1, ensure_ascii=False))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
