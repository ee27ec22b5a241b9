"""``mxquant score``: accuracy and speed in fp32, and in int8 beside it.

``--json``: ``examples``, ``batch_size``, ``fp32`` and ``int8`` (or null; each with ``top1``, ``top5`` as shares or
null, ``per_second``), ``sqnr`` (dB) and ``agreement`` (share of examples with the same class) or null, ``unmet`` (a
list of sentences).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.int8 import int8_of
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.requirements import Requirement, fallen, max_drop, requirements
from mxquant.cli.text import number, table
from mxquant.errors import InputError

if TYPE_CHECKING:
    from mxquant.analysis.predictor import Predictor
    from mxquant.analysis.scores import Faithfulness, Tally

__all__ = ["EXAMPLES", "ScoreOptions", "score"]

EXAMPLES = (
    "mxquant score -m net -d val.rec --preset imagenet",
    "mxquant score -m net --int8 net-int8 -d images --preset imagenet --max-drop 50%",
)
_MEASURES = ("sqnr", "agreement", "top1", "top5")


@dataclass(frozen=True)
class ScoreOptions:
    """What is scored beside fp32, and what it has to reach."""

    int8: Optional[str] = field(
        default=None,
        metadata=option(
            "--int8", metavar="PREFIX[:EPOCH]", help="What 'mxquant quantize' has written; the two take turns."
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
def score(network: NetworkOptions, own: ScoreOptions, data: DataOptions, common: Common) -> Result:
    """Score the fp32 network, and an int8 network beside it: top-1, top-5, agreement, SQNR, speed."""
    from mxquant.analysis.predictor import Predictor
    from mxquant.analysis.scores import Faithfulness, Tally
    from mxquant.progress import progress_bar

    required, drop = own.check()
    net = network.load()
    everything = data.open(net, network)
    if data.num_examples is None:
        examples = everything.after(own.skip, 1 << 62)
    else:
        examples = everything.first(own.skip + data.num_examples).after(own.skip, data.num_examples)
    predictors = {"fp32": Predictor(net.symbol, net.arg_params, net.aux_params, fused=True)}
    if own.int8 is not None:
        model = int8_of(net, own.int8)
        predictors["int8"] = Predictor(model.symbol, model.arg_params, model.aux_params)
    tallies, faithful, done = {name: Tally() for name in predictors}, Faithfulness(), 0
    with progress_bar("scoring", examples.count) as report:
        for batch in examples.labelled():
            found = {name: run(batch.arrays, batch.size) for name, run in predictors.items()}
            if batch.labels is not None:
                for name, outputs in found.items():
                    tallies[name].add(outputs[0], batch.labels)
            if own.int8 is not None:
                faithful.add(found["fp32"], found["int8"])
            done += batch.size
            if report is not None:
                report(done)
    if not done:
        raise InputError(f"--skip is {own.skip}, and '{everything.title}' holds no example after them")
    return _result(predictors, tallies, faithful, done, data.batch_size, required, drop)


def _result(
    predictors: Dict[str, Predictor],
    tallies: Dict[str, Tally],
    faithful: Faithfulness,
    examples: int,
    batch_size: int,
    required: List[Requirement],
    drop: Optional[float],
) -> Result:
    scores: Dict[str, Dict[str, Optional[float]]] = {
        name: {"top1": tallies[name].top1, "top5": tallies[name].top5, "per_second": predictors[name].per_second}
        for name in predictors
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
        text += "\n\nno accuracy: the data have no labels"
    return Result(document, text, tuple(document["unmet"]))
