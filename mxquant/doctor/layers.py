"""What is found of each layer: histogram and thresholds of its result, ranges of its weights, risk of saturation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from mxquant.analysis.comparison import Comparison
from mxquant.analysis.int8_weights import nodes_of
from mxquant.doctor.findings import Bars, LayerFindings, Saturation, WeightRanges
from mxquant.doctor.remedies import remedy
from mxquant.graph import Network, Node, Tensor
from mxquant.graph.attributes import read_int
from mxquant.graph.kinds import LINEAR
from mxquant.lowering.memory_order import as_in_memory
from mxquant.lowering.saturation import safe_code_of_weights
from mxquant.lowering.stored_weights import is_halved
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.runtime.threads import in_parallel
from mxquant.stats import Histogram
from mxquant.thresholds import METHODS, choose_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Measured", "bars_of", "layer_findings"]

_BARS, _CHANNELS = 160, 256


@dataclass(frozen=True)
class Measured:
    """What was measured of layers, by their names.

    Parameters
    ----------
    comparison : Comparison
        int8 beside fp32.
    sensitivity : mapping of str to float
        SQNR in dB with one layer in int8.
    fp32_ms, int8_ms : mapping of str to float
        Milliseconds for a batch.
    macs : mapping of str to int
        Multiplications, by the first fp32 layer of an operator.
    """

    comparison: Comparison
    sensitivity: Mapping[str, float]
    fp32_ms: Mapping[str, float]
    int8_ms: Mapping[str, float]
    macs: Mapping[str, int]


def layer_findings(
    network: Network, plan: QuantPlan, statistics: Mapping[str, Histogram], measured: Measured
) -> Tuple[LayerFindings, ...]:
    """Return what was found of each layer of a plan, in the order of the network.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A calibrated plan for it.
    statistics : mapping of str to Histogram
        By name of the tensor.
    measured : Measured
        What was measured.
    """
    nodes = nodes_of(network.graph, plan)
    makers = {tensor: name for name, found in nodes.items() for node in found for tensor in _results(node)}
    rows = {row.layer: row for row in measured.comparison.layers}
    total = sum(measured.macs.values()) or 1
    names = [row.layer for row in measured.comparison.layers]

    def findings(name: str) -> LayerFindings:
        layer, row, found = plan.layers[name], rows[name], nodes[name]
        head = found[-1].output
        tensor, histogram = plan.tensors.get(head.name), statistics.get(head.name)
        data = [t for node in found for t in node.inputs if makers.get(t) not in (None, name)]
        linear = next((node for node in found if node.op in LINEAR), None)
        weight = None if linear is None else network.params.get(linear.inputs[1].node.name)
        read = None if linear is None else plan.tensors.get(linear.inputs[0].name)
        return LayerFindings(
            name,
            layer.op,
            layer.precision,
            layer.reason,
            layer.contains,
            tuple(dict.fromkeys(makers[t] for t in data)),
            remedy(layer.reason) if layer.precision == "float32" else "",
            row.dtype,
            row.codes,
            row.sqnr,
            row.local,
            row.clipped,
            measured.sensitivity.get(name),
            measured.fp32_ms.get(name),
            measured.int8_ms.get(name),
            sum(measured.macs.get(each, 0) for each in layer.contains) / total,
            None if tensor is None else tensor.threshold,
            "" if tensor is None else tensor.method,
            {} if histogram is None else _thresholds(histogram),
            None if histogram is None else bars_of(histogram),
            None if weight is None else _ranges(weight),
            None if weight is None or linear is None else _saturation(linear, weight, layer, read, plan.isa),
        )

    return tuple(in_parallel(findings, names))


def _results(node: Node) -> List[Tensor]:
    return [Tensor(node, index) for index in range(node.num_outputs)]


def _thresholds(histogram: Histogram) -> Dict[str, float]:
    """Return the threshold that each method would choose."""
    if not histogram.count or histogram.exponent is None:
        return {}
    unsigned = histogram.minimum >= 0
    return {method: choose_threshold(histogram, method, unsigned=unsigned) for method in METHODS}


def bars_of(histogram: Histogram) -> Optional[Bars]:
    """Return a histogram with few enough bars to draw; None for one of zeros alone, or of nothing."""
    if histogram.exponent is None or not histogram.counts.size:
        return None
    counts, first, exponent = histogram.counts, histogram.first_bin, histogram.exponent
    while counts.size > _BARS:
        # Pairs of bins whose first has an even number become one.
        counts = np.concatenate([np.zeros(first % 2, np.int64), counts])
        counts = np.concatenate([counts, np.zeros(counts.size % 2, np.int64)]).reshape(-1, 2).sum(axis=1)
        first, exponent = first // 2, exponent + 1
    width = 2.0**exponent
    return Bars(first * width, width, tuple(map(int, counts)), histogram.zeros)


def _ranges(weight: NDArray[Any]) -> WeightRanges:
    rows = weight.reshape(len(weight), -1)
    low, high = rows.min(axis=1), rows.max(axis=1)
    step = -(-len(rows) // _CHANNELS)
    return WeightRanges(len(rows), tuple(map(_short, low[::step])), tuple(map(_short, high[::step])))


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def _saturation(
    node: Node, weight: NDArray[Any], layer: LayerPlan, data: Optional[TensorPlan], isa: Optional[str]
) -> Optional[Saturation]:
    """Return the risk of saturation; None for a layer in float32."""
    if layer.precision != "int8" or data is None:
        return None
    groups = read_int(node, "num_group", 1) if node.op == "Convolution" else 1
    safe = safe_code_of_weights(as_in_memory(layer, weight), groups)
    given_up = []
    if data.dtype == "uint8" and data.codes is not None and data.codes < 255:
        given_up.append(f"its data end at the code {data.codes} of 255")
    if layer.pair_codes is not None:
        given_up.append(f"pairs of weights end at {layer.pair_codes}")
    if is_halved(layer.weight_codes):
        given_up.append("its weights have every second code only")
    elif layer.weight_codes is not None and layer.weight_codes < 127:
        given_up.append(f"its weights end at the code {layer.weight_codes} of 127")
    if data.begins_at_zero:
        given_up.append(f"its data are int8 with the zero point {data.zero_point}")
    bears = safe if layer.pair_codes is None else max(safe, 32767 // layer.pair_codes)
    # oneDNN halves the weights of a convolution on int8 data by itself; those of a FullyConnected it leaves.
    codes = data.codes or 255
    if data.dtype == "int8":
        codes = 255 if node.op == "FullyConnected" and (layer.weight_codes or 127) == 127 else 0
    return Saturation(safe, data.codes, "; ".join(given_up), isa is not None and codes > bears)
