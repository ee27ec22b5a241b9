"""Quantize a described network and judge the result.

What may happen: int8 that is as near to fp32 as predicted (:mod:`tests.soak.bound`), and to the simulation; or a
refusal, which has to be one of a few with good reason. Everything else is a finding.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant import model as models
from mxquant.errors import LoweringError, MXQuantError, NonFiniteError
from mxquant.graph import Network
from mxquant.plan import QuantPlan, TensorPlan
from mxquant.runtime.mxnet import mx
from tests.networks import forward
from tests.soak.bound import Bound, Prediction, is_affine, predict
from tests.soak.networks import Description
from tests.soak.networks.description import Material
from tests.soak.targets import Made, fp32_of, quantized

__all__ = ["Outcome", "check"]

Arrays = List[np.ndarray]
# By how much errors may be larger than in the trials that predict them: energy (6 dB), and the largest one.
_ENERGY, _PEAK = 4.0, 4.0
# What is allowed besides where weights are chosen by the results of the whole network, in dB.
_IMPROVED = 6.0
# Float32 itself: other orders of sums, and BatchNorm folded into weights; its last digits.
_FLOAT32, _LAST_DIGIT = 1e-5, 2.0**-22
# Smaller values may be flushed to zero.
_NORMAL = 1.2e-38
# Where int8 and its simulation agree to this, no code of theirs differs.
_SAME_DB = 80.0

# Refusals with good reason, by their message.
REFUSALS = (
    r"values are NaN or infinite",
    r"the network's parameter '.*' has no value",
    r"needs calibration",
    r"the network reads none",
)


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Parameters
    ----------
    verdict : str
        'right'; 'refused'; 'invalid' where MXNet cannot run the network in fp32; or a finding: 'wrong', 'unlike its
        simulation', 'raised', 'unreasonable refusal', 'spoilt'.
    detail : str
        Of an exception: its type and message. Of a wrong result: numbers.
    excess : float or None
        The energy of the error over its bound, in dB; negative where it is within.
    same : bool or None
        Whether int8 and its simulation agree to the last code.
    int8 : int
        How many layers run in int8.
    """

    verdict: str
    detail: str = ""
    excess: Optional[float] = None
    same: Optional[bool] = None
    int8: int = 0

    @property
    def is_finding(self) -> bool:
        """Whether something is wrong with mxquant, or with MXNet in a way that mxquant should know."""
        return self.verdict not in ("right", "refused", "invalid")


def check(description: Description, stage: Callable[[str], None] = lambda name: None) -> Outcome:
    """Quantize a network and judge the result.

    Parameters
    ----------
    description : Description
        What to build.
    stage : callable
        Told before each step what is about to be done, in case the process dies in it.

    Returns
    -------
    Outcome
        What came out.
    """
    stage("fp32")
    try:
        material = without_labels(description.material())
        exact = run(material, material.data)
    except mx.MXNetError as error:
        return Outcome("invalid", str(error).splitlines()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Please (use|import)", DeprecationWarning)
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments")
        try:
            return _judged(description, material, exact, stage)
        except MXQuantError as error:
            return _refusal(error, description)
        except Exception as error:
            return Outcome("raised", _described(error))


def _described(error: BaseException) -> str:
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "mxquant" in frame.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {str(error).strip()[:600]}{where}"


def _refusal(error: MXQuantError, description: Description) -> Outcome:
    # Not every operator has a translation to ONNX.
    untranslated = description.options["target"] == "onnx_qdq" and isinstance(error, LoweringError)
    known = any(re.search(each, str(error)) for each in REFUSALS)
    good = isinstance(error, NonFiniteError) or untranslated or known
    return Outcome("refused" if good else "unreasonable refusal", _described(error))


def without_labels(material: Material) -> Material:
    """Return a network whose labels have no value, as when it is served."""
    args = {name: value for name, value in material.args.items() if not name.endswith("_label")}
    return material._replace(args=args)


def run(material: Material, data: Mapping[str, np.ndarray]) -> Arrays:
    """Return the outputs of a network in float32, labels being zeros."""
    symbol, args, aux = material.symbol, material.args, material.aux
    names = symbol.list_arguments()
    given = {name: value for name, value in data.items() if name in names}
    given.update({name: np.zeros(shape, np.float32) for name, shape in material.labels.items()})
    free = [name for name in names if name not in args and name not in given]
    if free:
        shapes = symbol.infer_shape_partial(**{name: value.shape for name, value in given.items()})[0]
        given.update({name: np.zeros(shape, np.float32) for name, shape in zip(names, shapes) if name in free})
    known = {name: value for name, value in args.items() if name in names}
    return forward(symbol, known, dict(aux), **given)


def _values_of(places: Sequence[bool], outputs: Sequence[Any]) -> List[Any]:
    """Return what belongs to outputs that are values; their places change where two of them are nearly the same."""
    return [each for is_place, each in zip(places, outputs) if not is_place]


def _strange_places(places: Sequence[bool], outputs: Arrays) -> bool:
    """Whether an output that should be places has numbers that can be none."""
    found = [each for is_place, each in zip(places, outputs) if is_place]
    return any(not np.array_equal(each, np.rint(each)) or each.min(initial=0) < 0 for each in found)


def _judged(description: Description, material: Material, exact: Arrays, stage: Callable[[str], None]) -> Outcome:
    options = description.options
    stage("fp32 by default")
    fp32 = fp32_of(material)
    stage("quantize")
    made = quantized(description, material, fp32.backend)
    layers = sum(layer.precision == "int8" for layer in made.plan.layers.values())
    stage("int8")
    found = made.run(material.data)
    stage("judge")
    if not all(np.isfinite(value).all() for value in exact):
        # Where nothing is int8, nothing has to be counted.
        counted = options["method"] is not None and layers > 0
        detail = "outputs in fp32 are not finite, but nothing was refused"
        return Outcome("wrong" if counted else "right", detail, int8=layers)
    if options["target"] == "onnx_qdq" and not layers and not all(np.isfinite(v).all() for v in material.data.values()):
        return Outcome("right", "not judged: data with NaN, which ONNX's operators may make something else of")
    if [value.shape for value in found] != [value.shape for value in exact]:
        shapes = [[value.shape for value in each] for each in (exact, found)]
        return Outcome("wrong", f"shapes {shapes[1]}, expected {shapes[0]}", int8=layers)
    if not all(np.isfinite(value).all() for value in found):
        return Outcome("wrong", "outputs are not finite", int8=layers)
    places = description.places()
    if _strange_places(places, found):
        return Outcome("wrong", "places of values that are none", int8=layers)
    exact, found, made = _values_of(places, exact), _values_of(places, found), made.of_values(places)
    network = models.load(material.symbol, material.args, material.aux).canonical.network
    prediction = predict(network, made.plan, material.data, description.seed)
    prediction = prediction._replace(bounds=_values_of(places, prediction.bounds))
    if options["method"] is None and any(np.abs(each).max() < 1e-4 for each in prediction.tensors.values()):
        return Outcome(
            "right", "not judged: uncalibrated, MXNet loses biases where a batch is next to zero", int8=layers
        )
    strange = _strange_threshold(made.plan, prediction)
    if strange:
        return Outcome("wrong", strange, int8=layers)
    shaken = run(material, _shaken(material, description.seed))
    others = [_values_of(places, each) for each in (fp32.outputs, shaken)]
    inside = [*prediction.tensors.values(), *material.data.values()]
    floor = [each + _vanished(material) for each in _floors(exact, others, inside)]
    excess, detail = _beyond(exact, found, prediction.bounds, floor)
    if any(layer.recurrent is not None for layer in made.plan.layers.values()):
        # An error in a state comes back at each step, which is not predicted: the simulation says what is right.
        excess, detail = -np.inf, "not judged by a bound: an LSTM in int8"
    if options["accuracy"] != "plain":
        # What is improved has other weights and biases than the prediction's, chosen for all outputs together.
        excess -= _IMPROVED
    outcome = Outcome("right", detail, excess if np.isfinite(excess) else None, None, layers)
    if excess > 0:
        return Outcome("wrong", detail, excess, None, layers)
    if made.simulated is not None:
        stage("simulate")
        simulated = made.simulated(material.data)
        away, detail = _beyond(simulated, found, prediction.bounds, floor)
        same = all(_sqnr(a, b) >= _SAME_DB for a, b in zip(simulated, found))
        if away > 0 or (not same and options["target"] == "cudnn"):
            return Outcome("unlike its simulation", detail, away, same, layers)
        outcome = Outcome("right", outcome.detail, outcome.excess, same, layers)
    stage("other data")
    strange = _beyond_thresholds(material, made, prediction, network, description)
    if strange is None and options["target"] == "onednn":
        strange = _spoilt(made, material, found)
    return strange or outcome


def _beyond_thresholds(
    material: Material, made: Made, prediction: Prediction, network: Network, description: Description
) -> Optional[Outcome]:
    """Triple the data: codes have to end at the ends of their ranges, as those of the simulation do.

    Without VNNI data beyond a threshold may saturate, which costs no more than to clip them there would.
    """
    if made.simulated is None:
        return None
    places = description.places()
    data = {name: value if name in material.fixed else 3 * value for name, value in material.data.items()}
    exact = _values_of(places, run(material, data))
    if not all(np.isfinite(value).all() for value in exact):
        return None
    found, simulated = made.run(data), made.simulated(data)
    clipped: Optional[List[Bound]] = None
    for number, (value, int8, simulation, bound) in enumerate(zip(exact, found, simulated, prediction.bounds)):
        errors = [float(np.square(each.astype(np.float64) - value).sum()) for each in (int8, simulation)]
        digits = _floors([value], [], [*prediction.tensors.values(), *data.values()])[0] + _vanished(material)
        floor = value.size * digits**2
        if errors[0] <= _ENERGY * (errors[1] + bound.energy) + floor:
            continue
        if clipped is None:
            bounds = predict(network, made.plan, data, description.seed, clipped=True).bounds
            clipped = _values_of(places, bounds)
        if not errors[0] <= _ENERGY * (errors[1] + bound.energy + clipped[number].energy) + floor:
            detail = f"tripled data, output {number}: energy of the error {errors[0]:.3g}, simulated {errors[1]:.3g}"
            return Outcome("unlike its simulation", detail)
    return None


def _shaken(material: Material, seed: int) -> Mapping[str, np.ndarray]:
    """Return data with the last digits of float32 changed, which some networks make much of."""
    random = np.random.RandomState(seed)
    return {
        name: each
        if name in material.fixed
        else (each * (1 + _LAST_DIGIT * random.uniform(-1, 1, each.shape))).astype(np.float32)
        for name, each in material.data.items()
    }


def _vanished(material: Material) -> float:
    """Return what may be missing where a bias is so small that it is taken for 0, as one int8 number may be."""
    largest = (float(np.abs(value.asnumpy()).max()) for name, value in material.args.items() if name.endswith("bias"))
    return max((each for each in largest if each < 1e-12), default=0.0)


def _floors(exact: Arrays, others: Sequence[Arrays], tensors: Arrays) -> List[float]:
    """Return what the digits of float32 amount to in each output: by themselves, inside, and in other fp32 runs."""
    inside = max((float(np.abs(value).max(initial=0.0)) for value in tensors), default=0.0)
    return [
        _FLOAT32 * float(np.abs(a).max(initial=0.0))
        + min(_FLOAT32, 1e-6 * inside)
        + sum(float(np.abs(a.astype(np.float64) - other[number]).max(initial=0.0)) for other in others)
        + _NORMAL
        for number, a in enumerate(exact)
    ]


def _spoilt(made: Made, material: Material, expected: Arrays) -> Optional[Outcome]:
    """Run data that calibration has not seen, then the first data again: nothing may have changed."""
    data = material.data
    for value in (0.0, np.nan, 1e30):
        made.run({name: each if name in material.fixed else np.full_like(each, value) for name, each in data.items()})
    again = made.run(data)
    if all(np.array_equal(a, b) for a, b in zip(expected, again)):
        return None
    return Outcome("spoilt", "other outputs for the same data, after zeros, NaN and 1e30")


def _beyond(exact: Arrays, found: Arrays, bounds: List[Bound], floors: List[float]) -> Tuple[float, str]:
    """Return by how many dB the worst output is beyond its bound, and the numbers."""
    worst, detail = -np.inf, ""
    for number, (value, other, bound, floor) in enumerate(zip(exact, found, bounds, floors)):
        error = np.abs(other.astype(np.float64) - value.astype(np.float64))
        energy, peak = float(np.square(error).sum()), float(error.max(initial=0.0))
        ratios = (
            _ratio(energy, _ENERGY * bound.energy + value.size * floor**2),
            _ratio(peak**2, (_PEAK * bound.peak + 10 * floor) ** 2),
        )
        if max(ratios) > worst:
            worst = max(ratios)
            detail = (
                f"output {number}: {_sqnr(value, other):.1f} dB, energy {energy:.3g} of {bound.energy:.3g}, "
                f"largest error {peak:.3g} of {bound.peak:.3g}"
            )
    return worst, detail


def _ratio(value: float, bound: float) -> float:
    if value <= 0:
        return -200.0
    return 200.0 if bound <= 0 else float(np.clip(10 * (np.log10(value) - np.log10(bound)), -200, 200))


def _sqnr(exact: np.ndarray, found: np.ndarray) -> float:
    exact, found = exact.astype(np.float64), found.astype(np.float64)
    noise = np.square(exact - found).sum()
    signal = np.square(exact).sum()
    return float("inf") if noise == 0 else float(10 * np.log10(signal / noise)) if signal else -200.0


def _strange_codes(plan: TensorPlan, values: np.ndarray) -> str:
    """Return what is wrong with codes that have a zero point: too far apart, or for 'minmax' not as far as the data."""
    assert plan.scale is not None
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if plan.scale > 1.001 * (high - low) / 255:
        return f"are {plan.scale} apart, its values lie between {low} and {high}"
    first, last = (end * plan.scale for end in plan.ends)
    # The zero point is a whole number, and leaves one code above it.
    near = 0.51 * plan.scale if high else 1.01 * plan.scale
    if plan.method == "minmax" and not (first <= low + near and high <= last + near):
        return f"stand for {first} to {last}, its values lie between {low} and {high}"
    return ""


def _strange_threshold(plan: QuantPlan, prediction: Prediction) -> str:
    """Return what is wrong with a threshold: beyond the data, or worse than the largest value is for 'mse'."""
    for name, values in prediction.tensors.items():
        tensor = plan.tensors[name]
        if tensor.threshold is None or tensor.group is not None or tensor.method not in ("minmax", "mse", "entropy"):
            continue
        largest = float(np.abs(values).max())
        if largest == 0:
            continue
        if is_affine(tensor):
            strange = _strange_codes(tensor, values)
            if strange:
                return f"codes of '{name}' {strange}"
            continue
        if tensor.threshold > 1.001 * max(largest, 1e-12):
            return f"threshold of '{name}' is {tensor.threshold}, its largest magnitude {largest}"
        if tensor.method == "minmax" and tensor.threshold < 0.999 * largest:
            return f"threshold of '{name}' is {tensor.threshold} by minmax, its largest magnitude {largest}"
    return ""
