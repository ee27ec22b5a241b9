"""Which layers lose how much: the network with only one layer in int8, one layer after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Optional, Tuple

from mxquant.analysis.judge import Judge
from mxquant.analysis.one_layer import levels_of_one, only
from mxquant.graph import Network
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.stored_weights import int8_weight, is_symmetric
from mxquant.plan import QuantPlan
from mxquant.shown import decibels, html_table, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LayerSensitivity", "Sensitivity", "measure"]


@dataclass(frozen=True)
class LayerSensitivity:
    """SQNR of the network's output, in dB, when only this layer is int8.

    Parameters
    ----------
    layer, op : str
        Name and operator of the layer.
    both : float
        Its weights and activations are rounded.
    weights, activations : float or None
        Only they are; None for a layer without weights.
    """

    layer: str
    op: str
    both: float
    weights: Optional[float]
    activations: Optional[float]


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivities of a network's int8 layers.

    Parameters
    ----------
    layers : tuple of LayerSensitivity
        The most sensitive first.
    all : float
        SQNR in dB with every layer in int8.
    """

    layers: Tuple[LayerSensitivity, ...]
    all: float

    def _repr_html_(self) -> str:
        about = f"SQNR of the output in dB with one layer in int8; {decibels(self.all)} dB with all"
        rows = [
            (row.layer, row.op, decibels(row.both), decibels(row.weights), decibels(row.activations))
            for row in self.layers
        ]
        return html_table(f"Sensitivity: {about}", ("layer", "operator", "both", "weights", "activations"), rows)

    def table(self) -> str:
        """Return a text table, one line per layer."""
        names = [printable(row.layer) for row in self.layers]
        width = max([len("layer"), *map(len, names)])
        lines = [f"{'layer':<{width}}  {'operator':<16}{'both':>8}{'weights':>9}{'activations':>13}   dB"]
        for row, name in zip(self.layers, names):
            cells = f"{decibels(row.both):>8}{decibels(row.weights):>9}{decibels(row.activations):>13}"
            lines.append(f"{name:<{width}}  {printable(row.op):<16}{cells}")
        return "\n".join([*lines, f"{'all int8':<{width}}  {'':<16}{self.all:8.1f}"])


def measure(
    network: Network,
    plan: QuantPlan,
    inputs: Mapping[str, NDArray[Any]],
    progress: Optional[Callable[[int], None]] = None,
    parts: bool = True,
) -> Sensitivity:
    """Measure the sensitivity of every int8 layer of a plan.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A calibrated plan for it.
    inputs : mapping of str to numpy.ndarray
        Examples by name of the input.
    progress : callable, optional
        Called with the number of layers done.
    parts : bool
        Whether to measure weights and activations by themselves too, which takes three times as long.

    Returns
    -------
    Sensitivity
        The table.
    """
    judge = Judge(network, inputs)
    weights_of = planned_weights(network, plan).params
    nodes = {node.layers[0]: node for node in network.graph.operators}
    both = levels_of_one(judge, network, plan, None if parts else progress)
    rows: List[LayerSensitivity] = []
    for name, layer in plan.layers.items():
        if layer.precision != "int8":
            continue
        weights = activations = None
        if parts and layer.granularity is not None and nodes[name].op in LINEAR:
            variable = nodes[name].inputs[1].node.name
            rounded = int8_weight(nodes[name].op, weights_of[variable], layer, is_symmetric(plan.target))
            rounded = rounded.astype("float32")
            weights = judge.level_of(Network(network.graph, {**network.params, variable: rounded}))
            activations = judge.level(network, only(plan, frozenset({name})), exact_weights=True)
        rows.append(LayerSensitivity(name, layer.op, both[name], weights, activations))
        if parts and progress is not None:
            progress(len(rows))
    return Sensitivity(tuple(sorted(rows, key=lambda row: row.both)), judge.level(network, plan))
