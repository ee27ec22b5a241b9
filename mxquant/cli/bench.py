"""``mxquant bench``: time of an int8 network beside fp32, in turns.

``--json``: ``cpu`` (level of its int8 instructions), ``rows``, a list of ``threads``, ``batch_size``, ``fp32_ms``,
``int8_ms`` (medians of a forward pass), ``speedup`` (fp32_ms / int8_ms).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mxquant.cli.command import Result, command
from mxquant.cli.errors import Interrupted
from mxquant.cli.files import int8_checkpoint
from mxquant.cli.int8 import int8_of
from mxquant.cli.network import Net, NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.shapes import input_shapes
from mxquant.cli.text import table
from mxquant.compat.starting import started
from mxquant.errors import InputError

__all__ = ["EXAMPLES", "BenchOptions", "bench"]

EXAMPLES = (
    "mxquant bench -m net --int8 net-int8 --batch-size 1 --batch-size 8",
    "mxquant bench --gluon mobilenetv2_0.25 --image-size 96 --threads 1 --threads 2",
)
Shapes = Dict[str, Tuple[int, ...]]


@dataclass(frozen=True)
class BenchOptions:
    """What is timed, and how."""

    int8: Optional[str] = field(
        default=None,
        metadata=option(
            "--int8",
            metavar="PREFIX[:EPOCH]",
            help="What 'mxquant quantize' has written. Default: quantize, on noise.",
            reads=int8_checkpoint,
        ),
    )
    batch_size: Optional[List[int]] = field(
        default=None,
        metadata=option("--batch-size", "-b", metavar="N", min=1, help="Examples at once; repeatable. Default: 1."),
    )
    threads: Optional[List[int]] = field(
        default=None,
        metadata=option(
            "--threads",
            "-t",
            metavar="N",
            min=1,
            help="Threads of MXNet, each number in a process of its own; repeatable. Default: those of this process.",
        ),
    )
    rounds: int = field(
        default=15, metadata=option("--rounds", metavar="N", min=1, help="How often each network takes its turn.")
    )
    input_shape: Optional[List[str]] = field(
        default=None,
        metadata=option(
            "--input-shape",
            metavar="1,3,224,224",
            help="Shape of the input; its first length is replaced by the batch size. NAME=SHAPE for each of several "
            "inputs. Default: 1,3,H,W with those of --image-size.",
        ),
    )


@command
def bench(network: NetworkOptions, own: BenchOptions, common: Common) -> Result:
    """Time fp32 and int8 in turns, on noise: medians in milliseconds."""
    from mxquant.lowering.isa import detect
    from mxquant.progress import progress_bar

    net = network.load()
    size = "1,3,{},{}".format(*network.size)
    shapes = input_shapes(own.input_shape or ([size] if len(net.inputs) == 1 else None), net.inputs)
    rows: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder, "int8"))
        if own.int8 is None:
            _quantize(net, shapes, prefix, common)
        else:
            # As this CPU can run it.
            int8_of(net, own.int8).save(prefix)
        fp32 = str(Path(folder, "fp32"))
        _save(net, fp32)
        job = {
            "fp32": fp32,
            "int8": prefix,
            "batch_sizes": own.batch_size or [1],
            "rounds": own.rounds,
            "shapes": shapes,
        }
        threads: List[Optional[int]] = [*own.threads] if own.threads else [None]
        with progress_bar("timing", len(threads)) as report:
            for done, count in enumerate(threads, start=1):
                rows += _measured(job, count)
                if report is not None:
                    report(done)
    names = ("threads", "batch_size", "fp32_ms", "int8_ms", "speedup")
    text = table(
        ["threads", "batch", "fp32 ms", "int8 ms", "fp32/int8"],
        [[str(row[n]) if isinstance(row[n], int) else f"{row[n]:.2f}" for n in names] for row in rows],
    )
    return Result({"cpu": detect(), "rows": rows}, text)


def _measured(job: Dict[str, Any], threads: Optional[int]) -> List[Dict[str, Any]]:
    """Time two networks here, or with other threads in another process: MXNet reads their number when it starts."""
    from mxquant.cli.timing import measure
    from mxquant.runtime.threads import number_of_threads

    if threads is None or threads == number_of_threads():
        return measure(job)
    words, environment = started("mxquant.cli.timing", OMP_NUM_THREADS=str(threads))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            words, cwd=folder, env=environment, input=json.dumps(job), capture_output=True, text=True, check=False
        )
    if done.returncode < 0 or done.returncode == 130:
        raise Interrupted("interrupted; nothing was written")
    if done.returncode:
        raise InputError(f"--threads {threads}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    found: List[Dict[str, Any]] = json.loads(done.stdout)
    return found


def _save(net: Net, prefix: str) -> None:
    from mxquant.runtime.mxnet import mx

    net.symbol.save(f"{prefix}-symbol.json")
    arrays = {f"arg:{name}": value for name, value in net.arg_params.items()}
    mx.nd.save(f"{prefix}-0000.params", {**arrays, **{f"aux:{name}": value for name, value in net.aux_params.items()}})


def _quantize(net: Net, shapes: Shapes, prefix: str, common: Common) -> None:
    from mxquant.cli.timing import noise
    from mxquant.pipeline import quantize

    def batches() -> Iterator[Any]:
        for _ in range(2):
            yield noise(shapes, 1)

    # What thresholds are does not change the time.
    model = quantize(
        net.symbol, list(batches()), **net.params, accuracy="fast", method="minmax", progress=common.progress
    )
    model.save(prefix)
