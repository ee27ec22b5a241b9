"""``mxquant sensitivity``: what each layer loses alone.

``--json``: ``all`` (SQNR in dB with every layer in int8), ``layers`` (a list of ``layer``, ``op``, ``both``,
``weights``, ``activations``: SQNR in dB with only this layer in int8, the most sensitive first), ``out`` (file or
null). ``--out``: the list as CSV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.files import the_file
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.planning import Method, PlanningOptions
from mxquant.cli.resuming import CALIBRATION_EXAMPLES
from mxquant.cli.text import csv_of
from mxquant.errors import InputError
from mxquant.files.replacing import write_text
from mxquant.shown import printable

__all__ = ["EXAMPLES", "SensitivityOptions", "sensitivity"]

EXAMPLES = (
    "mxquant sensitivity -m net -d images --preset imagenet -n 8",
    "mxquant sensitivity -m net -d calib.npy --isa avx2 -o layers.csv",
)


@dataclass(frozen=True)
class SensitivityOptions:
    """Where the table goes besides."""

    out: Optional[Path] = field(
        default=None,
        metadata=option("--out", "-o", metavar="FILE", help="Write the table as CSV too.", writes=the_file),
    )


@command
def sensitivity(
    network: NetworkOptions, data: DataOptions, planning: PlanningOptions, own: SensitivityOptions, common: Common
) -> Result:
    """Measure what each layer loses in int8: by its weights, its activations, and both."""
    from mxquant.inspection import sensitivity as measured

    if planning.method is Method.AUTO:
        raise InputError("--method auto is for 'mxquant quantize'; expected another method here")
    check_output(own.out)
    net = network.load()
    examples = data.open(net, network).first(data.num_examples, CALIBRATION_EXAMPLES)
    found = measured(
        net.symbol,
        examples,
        **net.params,
        num_calib_examples=examples.count,
        target=planning.target.value,
        progress=common.progress,
        **planning.options,
    )
    if own.out is not None:
        write_text(own.out, csv_of(found.layers))
    document = {"all": found.all, "layers": found.layers, "out": own.out}
    return Result(document, found.table() + (f"\n\nwrote {printable(own.out)}" if own.out is not None else ""))
