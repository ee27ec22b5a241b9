"""``mxquant calibrate``: statistics of a network on data.

``--json``: ``statistics`` (file), ``network`` (digest), ``examples``, ``batches``, ``tensors`` (numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from mxquant.cli.cluster import ClusterOptions
from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.planning import Target
from mxquant.cli.resuming import CALIBRATION_EXAMPLES, NONFINITE, Nonfinite, calibrated, resumable
from mxquant.cli.text import facts
from mxquant.files.targets import beside

__all__ = ["EXAMPLES", "CalibrateOptions", "calibrate"]

EXAMPLES = (
    "mxquant calibrate -m net -d images --preset imagenet -o stats.npz",
    "mxquant calibrate -m net -d val.rec --mean 127 --std 128 -o stats.npz --resume",
)


def _written(out: Path, _: Mapping[str, Any]) -> Sequence[str]:
    return [str(out), str(beside(out, ".partial"))]


@dataclass(frozen=True)
class CalibrateOptions:
    """Where statistics go."""

    out: Path = field(
        metadata=option(
            "--out",
            "-o",
            metavar="FILE",
            help="The .npz file with the statistics. FILE.partial keeps what an interrupted run has counted.",
            writes=_written,
        )
    )
    resume: bool = field(
        default=False,
        metadata=option(
            "--resume", help="Go on from FILE.partial, with the same data and options, to the same statistics."
        ),
    )
    target: Optional[Target] = field(
        default=None,
        metadata=option("--target", help="Count only what this target needs. Default: what any of them needs."),
    )
    nonfinite: Nonfinite = field(default=Nonfinite.RAISE, metadata=NONFINITE)


@command
def calibrate(
    network: NetworkOptions, data: DataOptions, own: CalibrateOptions, cluster: ClusterOptions, common: Common
) -> Result:
    """Run the fp32 network on data and keep a histogram of every tensor."""
    check_output(own.out)
    net = network.load()
    examples = data.open(net, network).first(data.num_examples, CALIBRATION_EXAMPLES)
    partial = beside(own.out, ".partial")
    with resumable(partial, own.resume):
        target = own.target.value if own.target else None
        statistics = calibrated(net, examples, partial, target, own.nonfinite, cluster, common)
        statistics.save(own.out)
    document = {
        "statistics": own.out,
        "network": statistics.network,
        "examples": statistics.num_examples,
        "batches": statistics.num_batches,
        "tensors": len(statistics),
    }
    counted = f"{len(statistics)} tensors on {statistics.num_examples} examples"
    return Result(document, facts([("counted", counted), ("wrote", str(own.out))]))
