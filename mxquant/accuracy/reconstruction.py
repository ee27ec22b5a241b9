"""Layer-wise reconstruction: weights and biases that undo, layer by layer, what int8 did to the layers before.

Two networks run side by side on calibration data: the fp32 network, and its integer simulation
(:mod:`mxquant.lowering.simulate`). At each layer, with x the fp32 data, x̂ the simulated data, y = W x + b:

1. adaptive rounding (Nagel et al. 2020, arXiv:2004.10568): integer weights Ŵ that minimize Var(W x - Ŵ x̂), by
   coordinate descent on the closed form; see :mod:`mxquant.accuracy.rounding`;
2. bias correction (Nagel et al. 2019, arXiv:1906.04721, section 4.2): the analytic one, (W - Ŵ) E[x], and of what is
   then left of E[y - (Ŵ x̂ + b)], the empirical one, as much as the examples agree on.

Then the simulation goes on with what was found. The result are ordinary fp32 parameters, which the int8 operators
quantize to just these integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ClassVar,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from mxquant.accuracy.bias_correction import mean_result
from mxquant.accuracy.moments import PartedMoments
from mxquant.accuracy.patches import rows_of
from mxquant.accuracy.rounding import Rounding
from mxquant.accuracy.step import EXAMPLES, Candidate, Inputs, WeightStep
from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int, read_tuple
from mxquant.graph.channel_axes import channel_axis
from mxquant.graph.heads import Heads
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.isa import saturates
from mxquant.lowering.linear_layer import LinearLayer
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.saturation import neighbours
from mxquant.lowering.simulate import simulate_layers
from mxquant.lowering.stored_weights import is_symmetric
from mxquant.lowering.weight_grid import WeightGrid
from mxquant.plan import LayerPlan, QuantPlan
from mxquant.runtime.forward import at_heads_in_turn, parts
from mxquant.runtime.memory import give_back
from mxquant.runtime.mxnet import mx
from mxquant.runtime.walk import Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AdaptiveRounding", "BiasCorrection", "agreed_shift", "reconstruct"]

# Numbers that the rows of one layer may hold.
_MOST = 30_000_000
# Examples that go through the networks at once; more take memory, and no less time.
_AT_ONCE = 8


@dataclass(frozen=True)
class BiasCorrection(WeightStep):
    """The step: :func:`reconstruct` of biases alone."""

    name: ClassVar[str] = "bias correction"
    needs: ClassVar[FrozenSet[str]] = frozenset({EXAMPLES})

    def change(self, candidate: Candidate, inputs: Inputs) -> Network:
        """Return the network with biases that make up for errors of the examples' results."""
        return reconstruct(candidate.network, candidate.plan, inputs, rounding=False)


@dataclass(frozen=True)
class AdaptiveRounding(WeightStep):
    """The step: :func:`reconstruct` of biases and weights."""

    name: ClassVar[str] = "bias correction, adaptive rounding"
    needs: ClassVar[FrozenSet[str]] = frozenset({EXAMPLES})

    def change(self, candidate: Candidate, inputs: Inputs) -> Network:
        """Return the network with weights that round to what loses least, and biases for what is left."""
        return reconstruct(candidate.network, candidate.plan, inputs)


def reconstruct(
    network: Network,
    plan: QuantPlan,
    inputs: Mapping[str, NDArray[Any]],
    *,
    rounding: bool = True,
    bias: bool = True,
    progress: Optional[Callable[[int], None]] = None,
) -> Network:
    """Return a network whose int8 form is nearer to the fp32 network.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A calibrated plan for it.
    inputs : mapping of str to numpy.ndarray
        Calibration data by name, one batch.
    rounding, bias : bool
        What to do: adaptive rounding of weights, correction of biases.
    progress : callable, optional
        Called with the number of layers done.

    Returns
    -------
    Network
        The same graph with other weights and biases; the plan fits it too.
    """
    heads = Heads.of(network)
    judged = heads.judged(network)
    given: Sequence[Mapping[str, NDArray[Any]]] = parts(network, inputs, _AT_ONCE)
    if heads.decisions:
        given = [each for _, each in at_heads_in_turn(network, heads, given)]
    layers = _layers(judged, plan)
    simulation, linear = simulate_layers(judged, plan)
    passes = [_Passes(Walk(judged, each), Walk(simulation, each)) for each in given]
    work = _Reconstruction(passes, judged.params, planned_weights(judged, plan).params, linear, plan, rounding, bias)
    for done, (node, layer) in enumerate(layers, start=1):
        work.layer(node, layer)
        give_back()
        if progress is not None:
            progress(done)
    return Network(network.graph, {**network.params, **work.changed})


def _layers(network: Network, plan: QuantPlan) -> List[Tuple[Node, LayerPlan]]:
    """Return the int8 layers with weights that belong to no other layer."""
    readers: Dict[str, int] = {}
    for node in network.graph.operators:
        for tensor in node.inputs:
            readers[tensor.name] = readers.get(tensor.name, 0) + 1
    found = []
    for node in network.graph.operators:
        layer = plan.layers.get(node.layers[0])
        if node.op not in LINEAR or layer is None or layer.precision != "int8":
            continue
        if all(readers[tensor.name] == 1 for tensor in node.inputs[1:]):
            found.append((node, layer))
    return found


class _Passes(NamedTuple):
    """The same examples in both networks."""

    exact: Walk
    rounded: Walk


@dataclass
class _Reconstruction:
    passes: Sequence[_Passes]
    original: Mapping[str, NDArray[Any]]
    start: Mapping[str, NDArray[Any]]
    linear: Mapping[str, LinearLayer]
    plan: QuantPlan
    rounding: bool
    bias: bool
    changed: Dict[str, NDArray[Any]] = field(default_factory=dict)

    def layer(self, node: Node, layer: LayerPlan) -> None:
        """Compute one layer in both networks, after changing it in the simulation."""
        linear = self.linear[node.name]
        counted, targets = _ChannelMeans(channel_axis(node)), []
        for exact, rounded in self.passes:
            exact.stop_before(node.name)
            twin = rounded.stop_before(node.name)
            counted.add(exact.value(node.inputs[0]).asnumpy())
            targets.append(exact.step())
        names = [tensor.node.name for tensor in node.inputs[1:]]
        if self.rounding and _has_rows(node, layer):
            weight = self._rounded_weight(node, twin, linear, targets)
            self.changed[names[0]] = weight
            self._feed(twin, linear, weight, names)
        results = [rounded.step() for _, rounded in self.passes]
        if not (self.bias and len(names) > 1):
            return
        # Exact but for the rounding of the new bias, which is less than a thousandth of a code.
        axes = range(targets[0].ndim)
        channel = axes[-1] if node.op == "FullyConnected" else 1
        shape = [-1 if axis == channel else 1 for axis in axes]
        units = mx.nd.array(linear.units(self.changed.get(names[0], self.start[names[0]])).reshape(shape))
        # One row for each example, one column for each channel.
        errors = [
            (target - mx.nd.broadcast_mul(result, units) + linear.result_shift)
            .asnumpy()
            .mean(tuple(axis for axis in axes[1:] if axis != channel), np.float64)
            for target, result in zip(targets, results)
        ]
        rounded_weight = linear.weight(self.changed.get(names[0], self.start[names[0]]))
        analytic = mean_result(node, rounded_weight - self.original[names[0]], counted.means, counted.lengths)
        known = np.zeros(len(rounded_weight)) if analytic is None else -analytic
        shift = agreed_shift(np.concatenate(errors), known)
        self.changed[names[1]] = (self.original[names[1]] + shift).astype(np.float32)
        codes = mx.nd.array(shift.reshape(shape)) / units
        for (_, rounded), result in zip(self.passes, results):
            rounded.values[twin.output] = mx.nd.broadcast_add(result, codes)

    def _rounded_weight(
        self, node: Node, twin: Node, linear: LinearLayer, targets: Sequence[Any]
    ) -> NDArray[np.float32]:
        """Return a weight rounded so that the layer's result varies with `targets`."""
        weight = self.original[node.inputs[1].node.name]
        data = [rounded.value(twin.inputs[0]) for _, rounded in self.passes]
        scale = np.float32(linear.data_scale)
        largest = max(_largest(targets), _largest(data) * float(scale))
        count = sum(map(len, data))
        moments, done = PartedMoments(count, largest), 0
        for read, target in zip(data, targets):
            share = _MOST * len(read) // count
            rows, results, examples = rows_of(node, read.asnumpy(), target.asnumpy(), weight.shape, share)
            rows *= scale
            moments.add(rows, results, examples + done)
            done += len(read)
        grid = WeightGrid.of(node.op, weight, linear.plan, is_symmetric(linear.target))
        groups, columns = read_int(node, "num_group", 1), int(np.prod(weight.shape[1:]))
        problem = Rounding(
            grid.original.reshape(groups, -1, columns),
            grid.steps.reshape(groups, -1),
            grid.fixed.reshape(groups, -1, columns),
            grid.low,
            grid.high,
            *self._pairs(node, linear, weight.shape),
        )
        codes = problem.solve(moments)
        return grid.weights(codes.reshape(len(weight), columns)).reshape(weight.shape)

    def _feed(self, twin: Node, linear: LinearLayer, weight: NDArray[Any], names: List[str]) -> None:
        bias = self.original[names[1]] if len(names) > 1 else None
        fed: Dict[str, NDArray[Any]] = {}
        for tensor, value in zip(twin.inputs[1:], linear.simulated(weight, bias)):
            assert value is not None
            fed[tensor.node.name] = value.astype(np.float32)
        if twin.op == "Convolution":
            name = f"{twin.name}_scale"
            fed[name] = linear.scales(weight).reshape(self.passes[0].rounded.params[name].shape)
        for _, rounded in self.passes:
            rounded.params.update(fed)

    def _pairs(
        self, node: Node, linear: LinearLayer, shape: Tuple[int, ...]
    ) -> Tuple[Optional[NDArray[np.int64]], Optional[int]]:
        """Return neighbours, and the largest sum of their codes with which the layer is as safe as it was."""
        data = linear.data
        if self.plan.isa is None or not saturates(self.plan.isa) or (node.op == "Convolution" and data.dtype == "int8"):
            return None, None
        largest = data.codes if data.dtype == "uint8" else 255
        assert largest is not None
        return neighbours(shape, read_int(node, "num_group", 1), linear.plan.channel_order), 32767 // largest


def _has_rows(node: Node, layer: LayerPlan) -> bool:
    """Whether a layer's weights can be rounded one by one: those of FullyConnected and of 2D convolutions."""
    if node.op == "FullyConnected":
        return True
    return len(read_tuple(node, "kernel")) == 2 and layer.granularity == "channel-wise"


def _largest(tensors: Sequence[Any]) -> float:
    return max(float(mx.nd.max(mx.nd.abs(each)).asscalar()) for each in tensors)


class _ChannelMeans:
    """Means of a tensor over all but one axis, and the lengths of its places, part by part."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.sums: List[NDArray[np.float64]] = []
        self.size = 0
        self.lengths: Tuple[int, ...] = ()

    def add(self, data: NDArray[Any]) -> None:
        others = tuple(each for each in range(data.ndim) if each != self.axis % data.ndim)
        self.sums.append(data.sum(axis=others, dtype=np.float64))
        self.size += data.size // data.shape[self.axis]
        self.lengths = data.shape[2:]

    @property
    def means(self) -> NDArray[np.float64]:
        return np.asarray(np.sum(self.sums, axis=0) / self.size)


def agreed_shift(errors: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what to add to a bias: what is known of its error, and of the rest what the examples agree on.

    The mean m of the rest, over n examples with variance v, has an error of v / n of its own: m² / (m² + v / n) of it
    are taken.

    Parameters
    ----------
    errors : numpy.ndarray
        What the result lacks in each example's mean, shape (n, C).
    known : numpy.ndarray
        What it is known to lack, shape (C,).

    Returns
    -------
    numpy.ndarray
        Shape (C,); `known` for one example.
    """
    if len(errors) == 1:
        return known
    rest = errors - known
    mean = rest.mean(axis=0)
    power, variance = np.square(mean), rest.var(axis=0, ddof=1) / len(rest)
    result: NDArray[np.float64] = known + mean * power / np.maximum(power + variance, np.finfo(np.float64).tiny)
    return result
