"""Where an int8 network differs from the fp32 network, layer by layer.

Two networks run side by side on the same examples: the fp32 network, and the integer simulation of the plan
(:mod:`mxquant.lowering.simulate`), which gives the same numbers on every CPU. Each layer's result y is compared with

* ŷ of the simulation, which holds the errors of all layers before it too;
* ŷ of the layer alone, simulated on the fp32 data: what the layer loses by itself.

Where the network decides by what it computes, as detectors do, layers behind it read what fp32 has decided, and the
networks are compared at its heads (:mod:`mxquant.graph.heads`).

An int8 network may have other weights than the fp32 network, found by :mod:`mxquant.accuracy`. They are read from its
parameters. What it returns on this CPU is compared with fp32 and with the simulation: where a sum of products saturates
in int16, the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.analysis.comparison import Comparison, LayerComparison, OutputComparison
from mxquant.analysis.int8_weights import nodes_of, weights_of
from mxquant.analysis.judge import Judge
from mxquant.analysis.lone_layer import LoneLayer, data_of
from mxquant.analysis.macs import layer_macs
from mxquant.analysis.noise_ratio import NoiseRatio
from mxquant.analysis.saturation_warnings import difference_warnings, saturation_warnings
from mxquant.analysis.scores import Faithfulness
from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.isa import detect
from mxquant.lowering.simulate import simulate
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.runtime.batch import examples_of
from mxquant.runtime.forward import outputs_in_turn, with_labels
from mxquant.runtime.walk import Ready, Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_networks"]

# Values of which something was found, of how many.
_Count = Tuple[int, int]

# A value at the end of a range is not beyond it, whatever the division by the scale has rounded.
_AT_THE_END = 1 + 1e-6


def compare_networks(
    network: Network,
    plan: QuantPlan,
    inputs: Mapping[str, NDArray[Any]],
    int8: Optional[Network] = None,
    progress: Optional[Callable[[int], None]] = None,
) -> Comparison:
    """Compare an int8 network, or what a plan would make of the fp32 network, with the fp32 network.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A calibrated plan for it.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input, one batch.
    int8 : Network, optional
        The int8 network that was made of it by this plan, perhaps with other weights; default: none is run, and the
        weights are those of `network`.
    progress : callable, optional
        Called with the number of layers done.

    Returns
    -------
    Comparison
        The table.

    Raises
    ------
    PlanError
        If the plan is not calibrated, or does not fit the network.
    InputError
        If `int8` was not made of this network.
    """
    weights = network if int8 is None else weights_of(network, plan, int8)
    judge = Judge(network, inputs)
    pair = judge.heads.undecided(network), judge.heads.undecided(weights)
    rows = _compare_layers(*pair, plan, [with_labels(network, part) for part in judge.inputs], progress)
    results = _compare_outputs(judge, weights, plan, int8)
    macs = layer_macs(network, inputs)
    in_int8 = {name for layer in plan.layers.values() if layer.precision == "int8" for name in layer.contains}
    total = sum(macs.values())
    return Comparison(
        rows,
        results,
        sum(layer.precision == "int8" for layer in plan.layers.values()) / max(len(plan.layers), 1),
        sum(count for name, count in macs.items() if name in in_int8) / total if total else None,
        examples_of(inputs).count,
        plan.isa,
        detect(),
        (*saturation_warnings(weights, plan), *difference_warnings(results)),
    )


class _Tapped:
    """A forward pass from which chosen tensors are taken, each as often as it is listed."""

    def __init__(
        self, network: Network, inputs: Mapping[str, NDArray[Any]], tensors: Iterable[Tensor], ready: Ready
    ) -> None:
        self.walk = Walk(network, inputs, ready)
        self.walk.uses.update(tensors)

    def take(self, tensor: Tensor) -> NDArray[Any]:
        """Return a tensor, and let go of it if nothing else needs it."""
        walk = self.walk
        while not tensor.node.is_variable and tensor not in walk.values:
            walk.step()
        value: NDArray[Any] = walk.value(tensor).asnumpy()
        walk.uses[tensor] -= 1
        if not walk.uses[tensor]:
            walk.values.pop(tensor, None)
        return value


@dataclass
class _Layer:
    """A layer, and what was found of it so far."""

    plan: LayerPlan
    head: Tensor
    result: Optional[TensorPlan]
    read: Mapping[Tensor, Optional[TensorPlan]]
    lone: Optional[LoneLayer]
    ratio: NoiseRatio = field(default_factory=NoiseRatio)
    alone: NoiseRatio = field(default_factory=NoiseRatio)
    clipped: List[_Count] = field(default_factory=list)
    clipped_data: Dict[Tensor, List[_Count]] = field(default_factory=dict)

    def add(self, read: Mapping[Tensor, NDArray[Any]], expected: NDArray[Any], found: NDArray[Any]) -> None:
        """Take in what it reads and returns in fp32, and what it returns in the simulation."""
        self.ratio.add(expected, found)
        if self.lone is None:
            return
        self.alone.add(expected, self.lone(read))
        self.clipped += _clipped(expected, self.result)
        for tensor, value in read.items():
            self.clipped_data.setdefault(tensor, []).extend(_clipped(value, self.read[tensor]))

    def row(self) -> LayerComparison:
        """Return its line of the table."""
        shares = [share for share in map(_share, self.clipped_data.values()) if share is not None]
        return LayerComparison(
            self.plan.name,
            self.plan.op,
            self.plan.precision,
            self.plan.reason,
            "float32" if self.result is None else self.result.dtype,
            None if self.result is None else self.result.codes,
            self.ratio.sqnr,
            None if self.lone is None else self.alone.sqnr,
            _share(self.clipped),
            max(shares, default=None),
        )


def _compare_layers(
    network: Network,
    weights: Network,
    plan: QuantPlan,
    parts: Sequence[Mapping[str, NDArray[Any]]],
    progress: Optional[Callable[[int], None]],
) -> Tuple[LayerComparison, ...]:
    # With every layer's result returned, the simulation tells its real value.
    graph = network.graph.copy()
    nodes = nodes_of(graph, plan)
    names = sorted(nodes, key=lambda name: graph.nodes.index(nodes[name][-1]))
    if not names:
        return ()
    graph.outputs = [nodes[name][-1].output for name in names]
    graph.prune()
    fp32, simulation = Network(graph, network.params), simulate(Network(graph, weights.params), plan)
    layers = [_layer(plan, plan.layers[name], nodes[name], weights.params) for name in names]
    taken = [*graph.outputs, *(tensor for layer in layers for tensor in layer.read)]
    ready = Ready(), Ready()
    for number, inputs in enumerate(parts):
        exact = _Tapped(fp32, inputs, taken, ready[0])
        rounded = _Tapped(simulation, inputs, simulation.graph.outputs, ready[1])
        for done, (layer, twin) in enumerate(zip(layers, simulation.graph.outputs), 1):
            read = {tensor: exact.take(tensor) for tensor in layer.read}
            layer.add(read, exact.take(layer.head), rounded.take(twin))
            if progress is not None:
                progress((number * len(layers) + done) // len(parts))
    return tuple(layer.row() for layer in layers)


def _layer(plan: QuantPlan, layer: LayerPlan, nodes: Sequence[Node], params: Mapping[str, NDArray[Any]]) -> _Layer:
    in_int8 = layer.precision == "int8"
    head = nodes[-1].output
    read = {tensor: plan.tensors.get(tensor.name) for tensor in data_of(nodes, params)}
    lone = LoneLayer(nodes, params, plan) if in_int8 else None
    return _Layer(layer, head, plan.tensors.get(head.name) if in_int8 else None, read, lone)


def _clipped(value: NDArray[Any], plan: Optional[TensorPlan]) -> List[_Count]:
    """Return how many values lie beyond the codes of a tensor, of how many; nothing where it has no codes."""
    if plan is None or plan.scale is None or not value.size:
        return []
    low, high = plan.ends[0] - 0.5, plan.ends[1] + 0.5
    codes = value.astype(np.float64) / plan.scale
    return [(int(((codes > high * _AT_THE_END) | (codes < low * _AT_THE_END)).sum()), codes.size)]


def _share(counts: Sequence[_Count]) -> Optional[float]:
    return sum(beyond for beyond, _ in counts) / sum(size for _, size in counts) if counts else None


def _compare_outputs(
    judge: Judge, weights: Network, plan: QuantPlan, int8: Optional[Network]
) -> Tuple[OutputComparison, ...]:
    simulated = outputs_in_turn(simulate(judge.heads.judged(weights), plan), judge.inputs)
    on_cpu = repeat(None) if int8 is None else outputs_in_turn(judge.heads.judged(int8), judge.inputs)
    found = [_Output(tensor.name) for tensor in judge.heads.tensors]
    for exact, rounded, computed in zip(judge.expected, simulated, on_cpu):
        for index, output in enumerate(found):
            output.add(exact[index], rounded[index], None if computed is None else computed[index])
    return tuple(output.row() for output in found)


@dataclass
class _Output:
    """An output, and what was found of it so far."""

    name: str
    simulation: Faithfulness = field(default_factory=Faithfulness)
    int8: Faithfulness = field(default_factory=Faithfulness)
    between: NoiseRatio = field(default_factory=NoiseRatio)

    def add(self, exact: NDArray[Any], simulated: NDArray[Any], found: Optional[NDArray[Any]]) -> None:
        self.simulation.add([exact], [simulated])
        if found is not None:
            self.int8.add([exact], [found])
            self.between.add(simulated, found)

    def row(self) -> OutputComparison:
        level, same = self.simulation.lowest(), self.simulation.agreement
        if self.int8.sqnr is None:
            return OutputComparison(self.name, level, same)
        return OutputComparison(self.name, level, same, self.int8.sqnr, self.int8.agreement, self.between.sqnr)
