"""``mxquant quantize``: from an fp32 network and data to an int8 network in files.

``--json``: ``files`` (a list), ``target``, ``isa``, ``cpu`` (level of this one), ``layers`` and ``int8_layers``
(numbers), ``float32`` (a list of ``layer``, ``op``, ``reason``), ``quality`` (``sqnr`` in dB, ``agreement`` and
``top1_drop`` as shares, ``examples``, ``held`` (whether these had no part in the calibration), ``how``; null where
nothing can be measured), ``bytes_before``, ``bytes_after`` (of parameters), ``mixed_precision`` (a sentence or null),
``unmet`` (a list of sentences).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.cli.cluster import ClusterOptions
from mxquant.cli.command import Result, command
from mxquant.cli.data import DataOptions
from mxquant.cli.examples import Data
from mxquant.cli.files import the_file
from mxquant.cli.images import SETTING
from mxquant.cli.int8 import statistics_of
from mxquant.cli.network import Net, NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.plan import float32_layers
from mxquant.cli.planning import PlanningOptions, Target
from mxquant.cli.requirements import Requirement, fallen, max_drop, requirements
from mxquant.cli.resuming import CALIBRATION_EXAMPLES, NONFINITE, Nonfinite, calibrated, resumable
from mxquant.cli.text import facts, megabytes
from mxquant.errors import InputError
from mxquant.files.targets import beside

if TYPE_CHECKING:
    from mxquant.cli.quality import Quality
    from mxquant.stats import Statistics

__all__ = ["EXAMPLES", "QuantizeOptions", "quantize"]

EXAMPLES = (
    "mxquant quantize -m net -d images --preset imagenet -o net-int8",
    "mxquant quantize -m net -d calib.npy -o int8 --accuracy best --require 'sqnr>=20'",
    "mxquant quantize --onnx net.onnx -d calib.npy --target onnx_qdq -o int8",
)

_PARTIAL = ".partial.npz"
_PARTS = ("symbol.json", "0000.params", "plan.json")
_UNMEASURED = {
    "cudnn": "not measured: it needs a GPU",
    "onnx_qdq": "not measured: ONNX Runtime is not installed; pip install onnxruntime",
}


def _written(out: str, given: Mapping[str, Any]) -> Sequence[str]:
    ends = [".onnx"] if given["target"] is Target.ONNX_QDQ else [f"-{each}" for each in _PARTS]
    partial = [str(beside(out, _PARTIAL))] if given["statistics"] is None else []
    return [*(out + end for end in ends), *partial]


@dataclass(frozen=True)
class QuantizeOptions:
    """What is made, and where it goes."""

    out: str = field(
        metadata=option(
            "--out",
            "-o",
            metavar="PREFIX",
            help="Writes PREFIX-symbol.json, PREFIX-0000.params and PREFIX-plan.json, or PREFIX.onnx. "
            "PREFIX.partial.npz keeps the calibration of an interrupted run.",
            writes=_written,
        )
    )
    accuracy: Optional[str] = field(
        default=None,
        metadata=option(
            "--accuracy",
            metavar="fast|balanced|best",
            help="How much work goes into weights that lose less. Default: balanced.",
        ),
    )
    compact: bool = field(
        default=False,
        metadata=option(
            "--compact", help="Keep weights in int8, in a quarter of the space; only mxquant reads such files."
        ),
    )
    require: Optional[List[str]] = field(
        default=None,
        metadata=option(
            "--require",
            metavar="'sqnr>=20'",
            help="Leave as few layers as possible in float32 so that the output reaches this SQNR in dB; exit with 1 "
            "if it does not. 'agreement>=99%' is checked only.",
        ),
    )
    max_drop: Optional[str] = field(
        default=None,
        metadata=option(
            "--max-drop",
            metavar="1%",
            help="The same for the top-1 accuracy, of data with labels: by how much it may be lower than in fp32.",
        ),
    )
    never_slower: bool = field(
        default=False,
        metadata=option("--never-slower", help="Leave layers in float32 that are faster so on this machine."),
    )
    statistics: Optional[Path] = field(
        default=None,
        metadata=option(
            "--statistics",
            metavar="FILE",
            help="What 'mxquant calibrate' has written of the same data, instead of calibrating.",
            reads=the_file,
        ),
    )
    resume: bool = field(
        default=False, metadata=option("--resume", help="Go on with a calibration that was interrupted.")
    )
    nonfinite: Nonfinite = field(default=Nonfinite.RAISE, metadata=NONFINITE)

    @property
    def partial(self) -> Path:
        """The file that keeps what was counted."""
        return beside(self.out, _PARTIAL)

    @property
    def required(self) -> List[Requirement]:
        """What is required."""
        return requirements(self.require, ["sqnr", "agreement"])


@command
def quantize(
    network: NetworkOptions,
    data: DataOptions,
    own: QuantizeOptions,
    planning: PlanningOptions,
    cluster: ClusterOptions,
    common: Common,
) -> Result:
    """Make an int8 network: calibrate, plan, improve, and write it."""
    from mxquant.cli.quality import quality

    required, drop = own.required, max_drop(own.max_drop)
    _check(own, planning, cluster)
    net = network.load()
    _check_exclusions(net, planning)
    everything = data.open(net, network, labels=drop is not None)
    given = None if own.statistics is None else statistics_of(net, own.statistics)
    # With statistics, the examples that they are of are the first too.
    examples = everything.first(data.num_examples, CALIBRATION_EXAMPLES if given is None else given.num_examples)
    with ExitStack() as stack:
        statistics = given
        if statistics is None:
            stack.enter_context(resumable(own.partial, own.resume))
            statistics = calibrated(net, examples, own.partial, planning.target.value, own.nonfinite, cluster, common)
            # What follows may take longer than the calibration, and be interrupted too.
            statistics.save(own.partial)
        model = _with_images(_quantized(net, examples, statistics, own, planning, common), everything.images)
        found = quality(net, everything, max(statistics.num_examples, data.num_examples or 0), model, drop is not None)
        files = _save(model, own)
    measured = {} if found is None else {"sqnr": found.sqnr, "agreement": found.agreement}
    unmet = [each.unmet(measured) for each in required]
    if drop is not None:
        unmet.append(fallen(None if found is None else found.top1_drop, drop))
    if model.mixed_precision is not None and not model.mixed_precision.met:
        unmet.append(model.mixed_precision.reason)
    return _result(net, model, files, found, tuple(filter(None, unmet)))


def _check(own: QuantizeOptions, planning: PlanningOptions, cluster: ClusterOptions) -> None:
    """Refuse what would only be noticed after the calibration."""
    from mxquant.accuracy.presets import EXAMPLES as PRESETS

    check_output(own.out)
    if own.accuracy is not None and own.accuracy not in PRESETS:
        raise InputError(f"--accuracy is {own.accuracy!r}, expected one of {', '.join(map(repr, PRESETS))}")
    if own.compact and planning.target is not Target.ONEDNN:
        raise InputError(f"--compact is for --target onednn, but --target is {planning.target.value}")
    if own.statistics is not None and cluster.scheduler is not None:
        raise InputError("--scheduler is for the calibration, but with --statistics there is none")
    if own.statistics is not None and own.resume:
        raise InputError("--resume goes on with a calibration, but with --statistics there is none")
    if planning.target is Target.ONNX_QDQ:
        from mxquant.onnx_export.writer import import_onnx

        import_onnx()


def _check_exclusions(net: Net, planning: PlanningOptions) -> None:
    """Refuse names that match nothing before the calibration, by a plan that needs none."""
    from mxquant.pipeline import make_plan

    names = {key: value for key, value in planning.options.items() if key.startswith("exclude_")}
    if names:
        make_plan(net.symbol, None, **net.params, method=None, **names)


def _quantized(
    net: Net, data: Data, statistics: Statistics, own: QuantizeOptions, planning: PlanningOptions, common: Common
) -> Any:
    from mxquant.cli.quality import top1_of
    from mxquant.pipeline import quantize as quantized

    goal: Dict[str, Any] = {}
    level = max((each.least for each in own.required if each.measure == "sqnr"), default=None)
    if level is not None:
        goal = {"metric": f"sqnr>={level:f}"}
    elif own.max_drop is not None:
        goal = {"metric": top1_of(data), "max_drop": max_drop(own.max_drop)}
    return quantized(
        net.symbol,
        data,
        **net.params,
        statistics=statistics,
        target=planning.target.value,
        accuracy=own.accuracy,
        never_slower=own.never_slower,
        progress=common.progress,
        **goal,
        **planning.options,
    )


def _with_images(model: Any, images: str) -> Any:
    """Return an int8 network whose plan says how images became its input."""
    if not images:
        return model
    return replace(model, plan=replace(model.plan, settings={**model.plan.settings, SETTING: images}))


def _save(model: Any, own: QuantizeOptions) -> List[Path]:
    from mxquant.onnx_export.onnx_model import OnnxModel

    if isinstance(model, OnnxModel):
        model.save(f"{own.out}.onnx")
        return [Path(f"{own.out}.onnx")]
    model.save(own.out, compact=own.compact)
    return [Path(f"{own.out}-{end}") for end in _PARTS]


def _result(net: Net, model: Any, files: List[Path], found: Optional[Quality], unmet: Tuple[str, ...]) -> Result:
    from mxquant.lowering.isa import detect, title

    plan, cpu = model.plan, detect()
    float32 = float32_layers(plan)
    after = sum(path.stat().st_size for path in files if path.suffix in (".params", ".onnx"))
    mixed = model.mixed_precision.reason if model.mixed_precision is not None else None
    document = {
        "files": files,
        "target": plan.target,
        "isa": plan.isa,
        "cpu": cpu,
        "layers": len(plan.layers),
        "int8_layers": len(plan.layers) - len(float32),
        "float32": float32,
        "quality": found,
        "bytes_before": net.bytes,
        "bytes_after": after,
        "mixed_precision": mixed,
        "unmet": unmet,
    }
    rows = [("in int8", f"{len(plan.layers) - len(float32)} of {len(plan.layers)} layers")]
    rows += [("in float32", f"{each['layer']} ({each['op']}): {each['reason']}") for each in float32[:5]]
    if len(float32) > 5:
        rows.append(("", f"and {len(float32) - 5} more, see the plan"))
    rows += [("mixed precision", mixed)] if mixed else []
    rows.append(("SQNR", _UNMEASURED[plan.target] if found is None else str(found)))
    rows.append(("parameters", f"{megabytes(net.bytes)} in fp32, {megabytes(after)} in the file"))
    if plan.isa is not None:
        rows.append(("made for", title(plan.isa) + (", as this one" if plan.isa == cpu else "")))
    rows.append(("wrote", ", ".join(map(str, files))))
    return Result(document, facts(rows), unmet)
