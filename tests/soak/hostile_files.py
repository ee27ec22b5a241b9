"""Damaged files by the thousand: each is refused by an error of mxquant's, or read, and no process dies of one.

    python -m tests.soak.hostile_files --count 20000 --seed 0

Files are read in processes of their own, which may take 1.5 GB and a minute for one of them. A process that dies is
counted, and another one goes on; a file that takes more than ten seconds is counted too. Some are FIFOs. Exits with 1
where anything else happened than a refusal or a result.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

SECONDS = 60.0
# What takes longer is slow: sound files take less than one.
SLOW = 10.0
Found = Tuple[int, str, str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="how many files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of files, instead of a count")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--child", nargs="*", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        _child(arguments.seed, arguments.child)
        return 0
    numbers = list(range(arguments.count)) if arguments.only is None else arguments.only
    begin = time.monotonic()
    shares = [numbers[index :: arguments.processes] for index in range(arguments.processes)]
    with ThreadPoolExecutor(arguments.processes) as pool:
        parts = pool.map(lambda share: list(_read_all(arguments.seed, share)), shares)
        found = [each for part in parts for each in part]
    summary = _summary(found, time.monotonic() - begin)
    print(json.dumps(summary, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(summary))
    return 1 if summary["wrong"] else 0


def _summary(found: List[Found], seconds: float) -> Dict[str, object]:
    outcomes = Counter(outcome for _, _, outcome, _ in found)
    wrong = [
        f"{number} ({name}): {outcome}" for number, name, outcome, _ in found if outcome not in ("refused", "read")
    ]
    slow = [f"{number} ({name}): {took:.0f} s" for number, name, _, took in found if took > SLOW]
    return {
        "files": len(found),
        "formats": len({name for _, name, *_ in found}),
        "refused": outcomes["refused"],
        "read": outcomes["read"],
        "died": sum(outcome.startswith("died") for outcome in outcomes.elements()),
        "hung": outcomes["hung"],
        "slow": len(slow),
        "longest": round(max((took for *_, took in found), default=0), 1),
        "wrong": [*wrong, *slow],
        "seconds": round(seconds),
    }


def _read_all(seed: int, numbers: List[int]) -> Iterator[Found]:
    """Yield number, format, outcome and seconds of each file, from as many processes as it takes."""
    left = list(numbers)
    while left:
        done = list(_read_in_one_process(seed, left))
        yield from done
        left = left[len(done) :]


def _read_in_one_process(seed: int, numbers: List[int]) -> Iterator[Found]:
    """Yield outcomes up to the file that the process dies of, or hangs at."""
    command = [sys.executable, "-m", "tests.soak.hostile_files", "--seed", str(seed), "--child"]
    with tempfile.TemporaryFile() as errors:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        # A process may get some hundred thousand numbers, more than fit on a command line.
        words = [str(number) for number in numbers[:5000]]
        child = subprocess.Popen([*command, *words], bufsize=0, stdout=subprocess.PIPE, stderr=errors, env=environment)
        _line(child, 10 * SECONDS)  # imports and the sound files
        for number in numbers[:5000]:
            line = _line(child, SECONDS)
            if line is None:
                child.kill()
                yield number, "?", "hung", SECONDS
                break
            if not line:
                yield number, "?", f"died with {child.wait()}: {_last_words(errors)}", 0.0
                break
            yield (number, *json.loads(line))
        child.kill()
        child.wait()


def _line(child: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """Return the next line, b'' at the end, or None after too long a time."""
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], seconds)
    return child.stdout.readline() if ready else None


def _last_words(errors: object) -> str:
    errors.seek(0)  # type: ignore[attr-defined]
    return errors.read().decode(errors="replace").strip()[-300:]  # type: ignore[attr-defined]


def _child(seed: int, numbers: List[int]) -> None:
    from tests.soak.trials import Trials, limit_memory

    # Whatever else is printed does not get between the lines for the parent.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(seed, Path(folder))
        limit_memory()
        print("ready", file=answers, flush=True)
        for number in numbers:
            print(json.dumps(trials.run(number)), file=answers, flush=True)
        trials.close()


if __name__ == "__main__":
    sys.exit(main())
