"""``mxquant compare``: int8 beside fp32, layer by layer.

``--json``: ``comparison`` (see :class:`mxquant.analysis.comparison.Comparison`: ``layers``, ``outputs``,
``int8_layers``, ``int8_macs``, ``num_examples``, ``isa``, ``cpu``, ``warnings``), ``sqnr`` (dB, the lowest of all
outputs, on this CPU where an int8 network is run), ``unmet`` (a list of sentences), ``out`` (file or null).
``--out``: the layers as CSV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional

from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.files import int8_checkpoint, the_file
from mxquant.cli.images import kept_of
from mxquant.cli.int8 import int8_of, plan_of
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.requirements import requirements
from mxquant.cli.text import csv_of
from mxquant.errors import InputError
from mxquant.files.replacing import write_text
from mxquant.shown import printable

__all__ = ["EXAMPLES", "CompareOptions", "compare"]

EXAMPLES = (
    "mxquant compare -m net --int8 net-int8 -d images --preset imagenet",
    "mxquant compare -m net --plan plan.json -d calib.npy --require 'sqnr>=15'",
)

_EXAMPLES = 16


@dataclass(frozen=True)
class CompareOptions:
    """What is compared with the fp32 network."""

    int8: Optional[str] = field(
        default=None,
        metadata=option(
            "--int8",
            metavar="PREFIX[:EPOCH]",
            help="What 'mxquant quantize' has written; it is run on this CPU.",
            reads=int8_checkpoint,
        ),
    )
    plan: Optional[Path] = field(
        default=None, metadata=option("--plan", metavar="FILE", help="A plan, which is only simulated.", reads=the_file)
    )
    require: Optional[List[str]] = field(
        default=None,
        metadata=option(
            "--require", metavar="'sqnr>=20'", help="Exit with 1 unless the output reaches this SQNR in dB."
        ),
    )
    out: Optional[Path] = field(
        default=None,
        metadata=option("--out", "-o", metavar="FILE", help="Write the layers as CSV too.", writes=the_file),
    )


@command
def compare(network: NetworkOptions, own: CompareOptions, data: DataOptions, common: Common) -> Result:
    """Compare an int8 network, layer by layer, with the fp32 network."""
    from mxquant.inspection import compare as compared

    if (own.int8 is None) == (own.plan is None):
        raise InputError(f"expected one of --int8 and --plan, but {'both' if own.int8 else 'none of them'} is given")
    required = requirements(own.require, ["sqnr"])
    check_output(own.out)
    net = network.load()
    model: Any = plan_of(own.plan) if own.plan is not None else int8_of(net, own.int8 or "")
    kept = kept_of(getattr(model, "plan", model), str(own.plan or own.int8))
    examples = data.open(net, network, kept).first(data.num_examples, _EXAMPLES)
    found = compared(
        net.symbol,
        model,
        examples,
        **net.params,
        num_examples=data.num_examples or _EXAMPLES,
        progress=common.progress,
    )
    levels = [each.sqnr if each.int8_sqnr is None else each.int8_sqnr for each in found.outputs]
    sqnr = min(levels, default=None)
    unmet = tuple(filter(None, (each.unmet({"sqnr": sqnr}) for each in required)))
    if own.out is not None:
        write_text(own.out, csv_of(found.layers))
    document = {"comparison": found.to_dict(), "sqnr": sqnr, "unmet": unmet, "out": own.out}
    return Result(document, found.table() + (f"\n\nwrote {printable(own.out)}" if own.out is not None else ""), unmet)
