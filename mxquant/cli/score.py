"""``mxquant score``: accuracy and speed in fp32, and in int8 beside it.

``--json``: ``examples``, ``batch_size``, ``fp32`` and ``int8`` (or null; each with ``top1``, ``top5`` as shares or
null, ``per_second``, of one worker where there are several), ``sqnr`` (dB, of a detector at what it decides by) and
``agreement`` (share of examples with the same class) or null, ``unmet`` (a list of sentences).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from mxquant.cli.cluster import ClusterOptions, dataset_of
from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.examples import NO_LABELS
from mxquant.cli.files import int8_checkpoint
from mxquant.cli.images import kept_of
from mxquant.cli.int8 import int8_of
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.requirements import Requirement, fallen, max_drop, requirements
from mxquant.cli.text import number, table
from mxquant.errors import InputError
from mxquant.shown import logger

if TYPE_CHECKING:
    from mxquant.analysis.scores import Scores
    from mxquant.cli.examples import Data
    from mxquant.cli.network import Net
    from mxquant.model.quantized_model import QuantizedModel

__all__ = ["EXAMPLES", "ScoreOptions", "score"]

EXAMPLES = (
    "mxquant score -m net -d val.rec --preset imagenet",
    "mxquant score -m net --int8 net-int8 -d images --classes names.txt --max-drop 50%",
)
_log = logger(__name__)
_MEASURES = ("sqnr", "agreement", "top1", "top5")


@dataclass(frozen=True)
class ScoreOptions:
    """What is scored beside fp32, and what it has to reach."""

    int8: Optional[str] = field(
        default=None,
        metadata=option(
            "--int8",
            metavar="PREFIX[:EPOCH]",
            help="What 'mxquant quantize' has written; the two take turns.",
            reads=int8_checkpoint,
        ),
    )
    skip: int = field(
        default=0,
        metadata=option(
            "--skip", metavar="N", min=0, help="Leave out the first N examples, such as those of the calibration."
        ),
    )
    require: Optional[List[str]] = field(
        default=None,
        metadata=option(
            "--require",
            metavar="'sqnr>=20'",
            help="Exit with 1 unless sqnr, agreement, top1 or top5 (of int8, if given) reaches this; repeatable.",
        ),
    )
    max_drop: Optional[str] = field(
        default=None,
        metadata=option(
            "--max-drop", metavar="1%", help="Exit with 1 if the top-1 accuracy of int8 is lower by more than that."
        ),
    )

    def check(self) -> Tuple[List[Requirement], Optional[float]]:
        """Return what is required; raise InputError if that makes no sense."""
        required, drop = requirements(self.require, _MEASURES), max_drop(self.max_drop)
        beside = next((each.measure for each in required if each.measure in ("sqnr", "agreement")), None)
        if self.int8 is None and (beside or drop is not None):
            raise InputError(f"{'--max-drop' if beside is None else f'--require {beside}'} needs --int8")
        return required, drop


@command
def score(
    network: NetworkOptions, own: ScoreOptions, data: DataOptions, cluster: ClusterOptions, common: Common
) -> Result:
    """Score the fp32 network, and an int8 network beside it: top-1, top-5, agreement, SQNR, speed."""
    required, drop = own.check()
    net = network.load()
    int8 = None if own.int8 is None else int8_of(net, own.int8)
    kept = None if int8 is None else kept_of(int8.plan, str(own.int8))
    everything = data.open(net, network, kept, labels=True)
    if data.num_examples is None:
        examples = everything.after(own.skip, 1 << 62)
    else:
        examples = everything.first(own.skip + data.num_examples).after(own.skip, data.num_examples)
    if everything.unlabelled != NO_LABELS:
        _log.warning("%s", everything.unlabelled)
    with cluster.client() as client:
        found = _here(net, int8, examples) if client is None else _there(client, net, int8, examples, common)
    if not found.examples:
        raise InputError(f"--skip is {own.skip}, and '{everything.title}' holds no example after them")
    return _result(found, data.batch_size, required, drop, everything.unlabelled)


def _here(net: Net, int8: Optional[QuantizedModel], data: Data) -> Scores:
    """Return scores as this process finds them."""
    from mxquant.analysis.scores import Scores
    from mxquant.analysis.scoring import Scoring
    from mxquant.progress import progress_bar

    parts = None if int8 is None else (int8.symbol, int8.arg_params, int8.aux_params)
    scoring = Scoring.of((net.symbol, net.arg_params, net.aux_params), parts)
    scores = Scores.of(scoring.predictors)
    with progress_bar("scoring", data.count) as report:
        for batch in data.labelled():
            scoring.add(scores, *batch)
            if report is not None:
                report(scores.examples)
    return scores


def _there(client: Any, net: Net, int8: Optional[QuantizedModel], data: Data, common: Common) -> Scores:
    """Return scores as the workers of a cluster find them."""
    from mxquant.analysis.scores import Scores
    from mxquant.distributed import score as scored

    found = dataset_of(data)
    end = len(found) if data.end is None else min(data.end, len(found))
    if data.begin >= end:
        return Scores()
    return scored(
        client, net.symbol, found, **net.params, int8=int8, begin=data.begin, end=end, progress=common.progress
    )


def _result(
    found: Scores, batch_size: int, required: List[Requirement], drop: Optional[float], unlabelled: str
) -> Result:
    examples, faithful = found.examples, found.faithful
    scores: Dict[str, Dict[str, Optional[float]]] = {
        name: {"top1": tally.top1, "top5": tally.top5, "per_second": found.per_second(name)}
        for name, tally in found.tallies.items()
    }
    judged = scores.get("int8", scores["fp32"])
    measured = {**judged, "sqnr": faithful.sqnr, "agreement": faithful.agreement}
    unmet = [each.unmet(measured) for each in required]
    if drop is not None:
        before, after = scores["fp32"]["top1"], judged["top1"]
        unmet.append(fallen(None if before is None or after is None else before - after, drop))
    document: Dict[str, Any] = {
        "examples": examples,
        "batch_size": batch_size,
        "fp32": scores["fp32"],
        "int8": scores.get("int8"),
        "sqnr": faithful.sqnr,
        "agreement": faithful.agreement,
        "unmet": list(filter(None, unmet)),
    }
    forms = {
        "top1": ("top-1 accuracy", ".2%"),
        "top5": ("top-5 accuracy", ".2%"),
        "per_second": ("examples a second", ".1f"),
    }
    rows = [
        [title, *(number(each[key], form) for each in scores.values())]
        for key, (title, form) in forms.items()
        if scores["fp32"][key] is not None
    ]
    text = table([f"{examples} examples", *scores], rows)
    if faithful.sqnr is not None:
        same = "" if faithful.agreement is None else f", same class {faithful.agreement:.2%}"
        text += f"\n\nint8 against fp32: SQNR {faithful.sqnr:.1f} dB{same}"
    if scores["fp32"]["top1"] is None:
        text += f"\n\nno accuracy: {unlabelled}"
    return Result(document, text, tuple(document["unmet"]))
