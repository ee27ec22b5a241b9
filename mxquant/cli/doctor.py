"""``mxquant doctor``: a report on what int8 does to a network, and what to do about it.

``--json``: ``verdict`` (a text), ``report`` (file), ``diagnosis`` (what ``Diagnosis.to_dict()`` of
:mod:`mxquant.doctor` has).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.examples import NO_LABELS
from mxquant.cli.files import int8_checkpoint, the_file
from mxquant.cli.images import kept_of
from mxquant.cli.int8 import int8_of
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.planning import PlanningOptions, Target
from mxquant.cli.text import facts
from mxquant.errors import InputError
from mxquant.shown import logger

__all__ = ["EXAMPLES", "DoctorOptions", "doctor"]

EXAMPLES = (
    "mxquant doctor -m net -d images --preset imagenet -o report.html",
    "mxquant doctor -m net --int8 net-int8 -d calib.npy -o report.html",
)

_EXAMPLES = 64
_log = logger(__name__)


@dataclass(frozen=True)
class DoctorOptions:
    """What is examined, and where the report goes."""

    out: Path = field(
        metadata=option("--out", "-o", metavar="FILE", help="The report: one HTML file.", writes=the_file)
    )
    int8: Optional[str] = field(
        default=None,
        metadata=option(
            "--int8",
            metavar="PREFIX[:EPOCH]",
            help="What 'mxquant quantize' has written. Default: quantize, as the options below say.",
            reads=int8_checkpoint,
        ),
    )


@command
def doctor(
    network: NetworkOptions, data: DataOptions, own: DoctorOptions, planning: PlanningOptions, common: Common
) -> Result:
    """Find out what int8 does to the network, and write a report."""
    check_output(own.out)
    options = planning.options
    if planning.target is not Target.ONEDNN:
        options["target"] = planning.target.value
    if own.int8 is not None and options:
        raise InputError("--int8 names a network that is quantized already; leave out how it is to be quantized")
    from mxquant.doctor import diagnose

    net = network.load()
    int8 = None if own.int8 is None else int8_of(net, own.int8)
    kept = None if int8 is None else kept_of(int8.plan, str(own.int8))
    examples = data.open(net, network, kept, labels=True).first(data.num_examples, _EXAMPLES)
    if examples.unlabelled != NO_LABELS:
        _log.warning("%s", examples.unlabelled)
    diagnosis = diagnose(
        net.symbol,
        examples,
        **net.params,
        data_names=net.inputs,
        int8=int8,
        num_examples=data.num_examples or _EXAMPLES,
        progress=common.progress,
        **options,
    )
    diagnosis.save(own.out)
    document = {"verdict": diagnosis.verdict, "report": own.out, "diagnosis": diagnosis.to_dict()}
    return Result(document, facts([("verdict", diagnosis.verdict), ("wrote", str(own.out))]))
