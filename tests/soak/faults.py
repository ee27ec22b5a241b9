"""Processes that are killed, disks that are full, folders that others write to: no file is left that loads wrong.

    python -m tests.soak.faults --kills 60 --seed 0

Kills a real `mxquant calibrate`, `mxquant quantize` and `QuantizedModel.save` at random moments, and looks at what is
there after each: nothing, the whole of before, or the whole of after. Exits with 1 where anything else was found.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

import mxquant
from mxquant.errors import MXQuantError
from mxquant.runtime.mxnet import mx
from tests.soak.material import SIDE, network

HERE = Path(__file__).resolve().parents[2]
# What is saved over and over, in one of two forms of which any mixture is neither.
SAVE = """
import sys, itertools
import numpy as np
import mxquant
from tests.soak.faults import models
prefix, ready = sys.argv[1:3]
both = models()
open(ready, "w").close()
for number in itertools.count():
    both[number % 2].save(prefix)
"""
CALIBRATE = """
import sys
import mxquant.calibration.checkpoint
from mxquant.cli import main
mxquant.calibration.checkpoint._SECONDS = 0.0
main()
"""


def models() -> List[Any]:
    """Return two int8 networks of one structure, whose weights and thresholds differ by a factor."""
    symbol, args, aux = network()
    data = np.random.RandomState(0).randn(2, 3, SIDE, SIDE).astype(np.float32)
    larger = {name: value * 2 for name, value in args.items()}
    plans = {"aux_params": aux, "accuracy": "fast", "isa": "vnni"}
    both = ((data, args), (data * 3, larger))
    return [mxquant.quantize(symbol, examples, arg_params=each, **plans) for examples, each in both]


def identity(prefix: Path) -> Optional[str]:
    """Return what tells an int8 network on disk from others, or None where none can be loaded by stock MXNet."""
    if not Path(f"{prefix}-symbol.json").is_file():
        return None
    symbol, args, _ = mx.model.load_checkpoint(str(prefix), 0)
    return f"{hash(symbol.tojson())} {hash(args['conv1_weight'].asnumpy().tobytes())}"


class Faults:
    """Counts what was tried and what was lost."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed)
        self.counts: Counter[str] = Counter()
        self.lost: List[str] = []

    def check(self, kind: str, good: bool, what: str) -> None:
        self.counts[kind] += 1
        if not good:
            self.lost.append(f"{kind}: {what}")

    # -- kill -9 ------------------------------------------------------------------------------------------------------

    def kill_saves(self, count: int, folder: Path) -> None:
        """Kill processes while they save; what stock MXNet then loads is one of the two networks, or nothing."""
        both = models()
        known = set()
        for model in both:
            model.save(folder / "known")
            known.add(identity(folder / "known"))
        prefix = folder / "net"
        for number in range(count):
            ready = folder / f"ready{number}"
            child = _python(SAVE, str(prefix), str(ready))
            _wait_for(ready, child)
            time.sleep(self.rng.rand() * 0.2)
            child.kill()
            child.wait()
            self.counts["kill -9 of save"] += 1
            self._look(prefix, known)

    def _look(self, prefix: Path, known: set) -> None:
        found = identity(prefix)
        self.check("stock MXNet's load after a kill", found is None or found in known, "stock MXNet loads a mixture")
        try:
            mxquant.load(prefix)
        except MXQuantError as error:
            self.check("mxquant.load after a kill", found is None, str(error))
        else:
            self.check("mxquant.load after a kill", found is not None, "loads without a symbol")

    def two_writers(self, seconds: float, folder: Path) -> None:
        """Let two processes save to one place while this one loads."""
        prefix = folder / "shared"
        both = models()
        known = set()
        for model in both:
            model.save(prefix)
            known.add(identity(prefix))
        children = [_python(SAVE, str(prefix), str(folder / f"writer{number}")) for number in range(2)]
        for number, child in enumerate(children):
            _wait_for(folder / f"writer{number}", child)
        try:
            self._load_for(seconds, prefix, both)
        finally:
            for child in children:
                child.kill()
                child.wait()
        self._look(prefix, known)

    def _load_for(self, seconds: float, prefix: Path, both: List[Any]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                loaded = mxquant.load(prefix)
            except MXQuantError as error:
                self.check("load while two write", False, str(error))
                continue
            whole = any(_equal(loaded, model) for model in both)
            self.check("load while two write", whole, "a mixture was loaded")

    def kill_calibrations(self, count: int, folder: Path) -> None:
        """Kill `mxquant calibrate`, and go on with --resume, until one comes to its end; the bytes are the same."""
        command = self._calibration(folder)
        _python(CALIBRATE, *command, "-o", str(folder / "whole.npz")).wait()
        expected = (folder / "whole.npz").read_bytes()
        out, partial = folder / "killed.npz", folder / "killed.npz.partial"
        left = count
        while left or partial.exists():
            left -= self._killed([*command, "-o", str(out)], partial, left > 0, 0.3)
            if out.exists() and not partial.exists():
                self.check("the same bytes after kill -9", out.read_bytes() == expected, "statistics differ")
                out.unlink()

    def kill_quantizations(self, count: int, folder: Path) -> None:
        """Kill `mxquant quantize`; what it leaves loads, or is not there."""
        command = ["quantize", *self._calibration(folder)[1:], "--accuracy", "fast", "-o", str(folder / "q")]
        begin = time.monotonic()
        _python(CALIBRATE, *command).wait()
        whole = time.monotonic() - begin
        known = {identity(folder / "q")}
        left = count
        while left:
            # Some are killed while they save, some come to their end before.
            left -= self._killed(command, folder / "q.partial.npz", True, whole)
            self._look(folder / "q", known)

    def _killed(self, command: List[str], partial: Path, kill: bool, seconds: float) -> int:
        """Run a command, kill it within some seconds after it has written what it counted; return how often."""
        before = partial.stat().st_mtime_ns if partial.exists() else None
        child = _python(CALIBRATE, *command, *(["--resume"] if partial.exists() else []))
        while kill and child.poll() is None and (not partial.exists() or partial.stat().st_mtime_ns == before):
            time.sleep(0.005)
        try:
            code = child.wait(timeout=self.rng.rand() * seconds if kill else None)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            self.counts[f"kill -9 of mxquant {command[0]}"] += 1
            return 1
        self.check(f"mxquant {command[0]} that was not killed", code == 0, f"ended with {code}")
        return 0

    def _calibration(self, folder: Path) -> List[str]:
        symbol, args, aux = network()
        mx.model.save_checkpoint(str(folder / "fp32"), 0, symbol, args, aux)
        np.save(folder / "data.npy", np.random.RandomState(0).randn(400, 3, SIDE, SIDE).astype(np.float32))
        return ["calibrate", "-m", str(folder / "fp32"), "-d", str(folder / "data.npy"), "-b", "1", "-n", "400", "-q"]

    # -- full disks ---------------------------------------------------------------------------------------------------

    def full_disks(self, folder: Path) -> None:
        """Write every kind of file to disks that are full at every place; the earlier file stays."""
        first, second = models()
        symbol, args, aux = network()
        params = {"arg_params": args, "aux_params": aux}
        data = np.zeros((1, 3, SIDE, SIDE), np.float32)
        statistics = mxquant.calibrate(symbol, data + 1, **params)
        exported = mxquant.export_onnx(symbol, input_shapes=data.shape, **params)
        writers: Dict[str, Callable[[Path], None]] = {
            "net": second.save,
            "compact": lambda path: second.save(path, compact=True),
            "statistics.npz": statistics.save,
            "plan.json": first.plan.save,
            "net.onnx": exported.save,
        }
        first.save(folder / "net")
        first.save(folder / "compact", compact=True)
        for name, write in writers.items():
            for limit in (0, 1, 100, 1000, 4095, 4096, 4097, 10_000, 20_000, 30_000):
                self._write_with(name, write, folder, limit)
        if os.geteuid() == 0:
            self._on_small_disk(writers, folder)

    def _write_with(self, name: str, write: Callable[[Path], None], folder: Path, limit: int) -> None:
        before = _contents(folder)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        failed = False
        try:
            write(folder / name)
        except MXQuantError:
            failed = True
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        if failed:
            self.check("disk full", _contents(folder) == before, f"{name} at {limit} bytes: files have changed")
        else:
            changed = dict(_contents(folder).items() - before.items())
            large = [path for path, content in changed.items() if len(content) > limit]
            self.check("disk large enough", not large, f"{name} at {limit} bytes: {large}")

    def _on_small_disk(self, writers: Dict[str, Callable[[Path], None]], folder: Path) -> None:
        for size in ("8k", "24k", "64k"):
            disk = folder / "disk"
            disk.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
            if subprocess.run(mount, capture_output=True).returncode != 0:
                disk.rmdir()
                return
            try:
                for name, write in writers.items():
                    before = _contents(disk)
                    try:
                        write(disk / name)
                    except MXQuantError:
                        self.check("tmpfs full", _contents(disk) == before, f"{name} on {size}: files have changed")
            finally:
                subprocess.run(["umount", str(disk)], check=True)
                disk.rmdir()


def _contents(folder: Path) -> Dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _equal(one: Any, other: Any) -> bool:
    return one.plan == other.plan and all(
        np.array_equal(value.asnumpy(), other.arg_params[name].asnumpy()) for name, value in one.arg_params.items()
    )


def _python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=str(HERE),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(path: Path, child: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        if child.poll() is not None:
            raise RuntimeError(f"the process ended with {child.returncode} before it began to save")
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="how many processes are killed, of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long two processes write to one place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one of the steps, such as full_disks")
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    faults = Faults(arguments.seed)
    begin = time.monotonic()
    steps: Dict[str, Callable[[Path], None]] = {
        "kill_saves": lambda folder: faults.kill_saves(arguments.kills, folder),
        "two_writers": lambda folder: faults.two_writers(arguments.seconds, folder),
        "kill_calibrations": lambda folder: faults.kill_calibrations(arguments.kills, folder),
        "kill_quantizations": lambda folder: faults.kill_quantizations(arguments.kills, folder),
        "full_disks": faults.full_disks,
    }
    for name, step in steps.items():
        if arguments.only not in (None, name):
            continue
        folder = Path(tempfile.mkdtemp())
        try:
            step(folder)
        finally:
            shutil.rmtree(str(folder))
    summary = {
        "faults": dict(faults.counts),
        "injected": sum(faults.counts.values()),
        "lost": faults.lost,
        "seconds": round(time.monotonic() - begin),
    }
    print(json.dumps(summary, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(summary))
    return 1 if faults.lost else 0


if __name__ == "__main__":
    sys.exit(main())
