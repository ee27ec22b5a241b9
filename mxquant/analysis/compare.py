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

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.analysis.comparison import Comparison, LayerComparison, OutputComparison
from mxquant.analysis.int8_weights import nodes_of, weights_of
from mxquant.analysis.judge import sqnr
from mxquant.analysis.macs import layer_macs
from mxquant.analysis.saturation_warnings import difference_warnings, saturation_warnings
from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.heads import Heads
from mxquant.lowering.isa import detect
from mxquant.lowering.simulate import simulate
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.runtime.forward import at_heads, outputs, with_labels
from mxquant.runtime.walk import Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_networks"]

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
    heads = Heads.of(network)
    exact, given = at_heads(network, heads, inputs)
    pair = heads.undecided(network), heads.undecided(weights)
    rows = _compare_layers(*pair, plan, with_labels(network, given), progress)
    simulated = outputs(simulate(heads.judged(weights), plan), given)
    found = outputs(heads.judged(int8), given) if int8 is not None else None
    results = tuple(
        _compare_output(tensor.name, exact[i], simulated[i], None if found is None else found[i])
        for i, tensor in enumerate(heads.tensors)
    )
    macs = layer_macs(network, inputs)
    in_int8 = {name for layer in plan.layers.values() if layer.precision == "int8" for name in layer.contains}
    total = sum(macs.values())
    return Comparison(
        rows,
        results,
        sum(layer.precision == "int8" for layer in plan.layers.values()) / max(len(plan.layers), 1),
        sum(count for name, count in macs.items() if name in in_int8) / total if total else None,
        max((len(value) for value in inputs.values()), default=0),
        plan.isa,
        detect(),
        (*saturation_warnings(weights, plan), *difference_warnings(results)),
    )


class _Tapped:
    """A forward pass from which chosen tensors are taken, each as often as it is listed."""

    def __init__(self, network: Network, inputs: Mapping[str, NDArray[Any]], tensors: Iterable[Tensor]) -> None:
        self.walk = Walk(network, inputs)
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


def _compare_layers(
    network: Network,
    weights: Network,
    plan: QuantPlan,
    inputs: Mapping[str, NDArray[Any]],
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
    simulation = simulate(Network(graph, weights.params), plan)
    data = {name: _data_of(nodes[name], network.params) for name in names}
    taken = [*graph.outputs, *(tensor for name in names for tensor in data[name])]
    exact = _Tapped(Network(graph, network.params), inputs, taken)
    rounded = _Tapped(simulation, inputs, simulation.graph.outputs)
    rows: List[LayerComparison] = []
    for name, twin in zip(names, simulation.graph.outputs):
        head = nodes[name][-1].output
        read = {tensor: exact.take(tensor) for tensor in data[name]}
        expected, found = exact.take(head), rounded.take(twin)
        alone = None
        if plan.layers[name].precision == "int8":
            local = simulate(_alone(nodes[name], weights.params), plan)
            alone = outputs(local, {tensor.name: value for tensor, value in read.items()})[0]
        rows.append(_row(plan, plan.layers[name], head, read, expected, found, alone))
        if progress is not None:
            progress(len(rows))
    return tuple(rows)


def _data_of(nodes: Sequence[Node], params: Mapping[str, NDArray[Any]]) -> List[Tensor]:
    """Return what a layer reads, other than its parameters, each tensor once."""
    inside = set(nodes)
    read = [tensor for node in nodes for tensor in node.inputs if tensor.node not in inside]
    return [t for t in dict.fromkeys(read) if not (t.node.is_variable and t.node.name in params)]


def _alone(nodes: Sequence[Node], params: Mapping[str, NDArray[Any]]) -> Network:
    """Return the network that consists of one layer; what it reads are variables by the names of the tensors."""
    twins: Dict[Tensor, Tensor] = {}
    made: List[Node] = []
    for node in nodes:
        for tensor in node.inputs:
            if tensor not in twins:
                attrs = dict(tensor.node.attrs) if tensor.node.is_variable else {}
                made.append(Node("null", tensor.name, attrs))
                twins[tensor] = made[-1].output
        read = [twins[tensor] for tensor in node.inputs]
        attrs, layers, names = dict(node.attrs), node.layers, node.output_names
        twin = Node(node.op, node.name, attrs, read, node.num_outputs, node.subgraphs, layers, names)
        made.append(twin)
        twins.update((Tensor(node, index), Tensor(twin, index)) for index in range(node.num_outputs))
    used = {node.name for node in made if node.is_variable}
    graph = Graph(made, [twins[nodes[-1].output]])
    return Network(graph, {name: value for name, value in params.items() if name in used})


def _row(
    plan: QuantPlan,
    layer: LayerPlan,
    head: Tensor,
    read: Mapping[Tensor, NDArray[Any]],
    expected: NDArray[Any],
    found: NDArray[Any],
    alone: Optional[NDArray[Any]],
) -> LayerComparison:
    result = plan.tensors.get(head.name) if alone is not None else None
    shares = [_clipped(value, plan.tensors.get(tensor.name)) for tensor, value in read.items()]
    of_data = [share for share in shares if share is not None] if alone is not None else []
    return LayerComparison(
        layer.name,
        layer.op,
        layer.precision,
        layer.reason,
        "float32" if result is None else result.dtype,
        None if result is None else result.codes,
        sqnr(expected, found),
        None if alone is None else sqnr(expected, alone),
        _clipped(expected, result),
        max(of_data, default=None),
    )


def _clipped(value: NDArray[Any], plan: Optional[TensorPlan]) -> Optional[float]:
    """Return the share of values beyond the codes of a tensor; None where it has none."""
    if plan is None or plan.scale is None or not value.size:
        return None
    low, high = -128.5, 127.5
    if plan.dtype == "uint8" or plan.zero_point:
        # A uint8 sum in the memory of an int8 tensor ends at 127; every other one, however many are used, at 255.
        low, high = -0.5, 127.5 if plan.codes == 127 else 127.5 - (plan.zero_point or -128)
    codes = value.astype(np.float64) / plan.scale
    return float(((codes > high * _AT_THE_END) | (codes < low * _AT_THE_END)).mean())


def _compare_output(
    name: str, exact: NDArray[Any], simulated: NDArray[Any], found: Optional[NDArray[Any]]
) -> OutputComparison:
    level, same = sqnr(exact, simulated), _top1(exact, simulated)
    if found is None:
        return OutputComparison(name, level, same)
    return OutputComparison(name, level, same, sqnr(exact, found), _top1(exact, found), sqnr(simulated, found))


def _top1(exact: NDArray[Any], value: NDArray[Any]) -> Optional[float]:
    if exact.ndim != 2 or exact.shape[1] < 2:
        return None
    return float((exact.argmax(axis=1) == value.argmax(axis=1)).mean())
