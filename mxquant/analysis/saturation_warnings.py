"""What to tell the user of sums of products that may saturate, or did."""

from __future__ import annotations

from typing import List, Sequence

from mxquant.analysis.comparison import OutputComparison
from mxquant.graph import Network
from mxquant.graph.attributes import read_int
from mxquant.graph.kinds import LINEAR
from mxquant.lowering import saturation
from mxquant.lowering.isa import PORTABLE, detect, saturates
from mxquant.lowering.memory_order import as_in_memory
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.quantized_params import quantize_int8
from mxquant.plan import QuantPlan

__all__ = ["difference_warnings", "saturation_warnings"]

# By how many dB the int8 network has to be worse than its simulation to be worth a warning: a few operators are
# simulated to 26 dB only.
_WORSE = 3.0
# Two float32 computations of the same differ by less.
_FLOAT32 = 100.0
_SHOWN = 5


def saturation_warnings(weights: Network, plan: QuantPlan) -> List[str]:
    """Return what to say of a plan for CPUs with VNNI."""
    if plan.isa is None or saturates(plan.isa):
        return []
    names = _saturating(planned_weights(weights, plan), plan)
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    here = detect()
    cpu = f"this CPU is '{here}', where" if saturates(here) else "on CPUs without VNNI"
    return [
        f"the plan is made for '{plan.isa}'; {cpu} sums of products can saturate in {len(names)} layers ({shown}); "
        f"plan with isa='{PORTABLE}' for such CPUs"
    ]


def _saturating(network: Network, plan: QuantPlan) -> List[str]:
    """Return the int8 layers with sums that can saturate in int16, on data within the thresholds."""
    names: List[str] = []
    for node in network.graph.operators:
        layer = plan.layers.get(node.layers[0])
        if node.op not in LINEAR or layer is None or layer.precision != "int8" or layer.name in names:
            continue
        data = plan.tensors.get(node.inputs[0].name)
        # oneDNN halves the weights of a convolution on int8 data, and adds 128 to the int8 data of a FullyConnected.
        if data is None or data.codes is None or (data.dtype == "int8" and node.op == "Convolution"):
            continue
        weight = as_in_memory(layer, network.params[node.inputs[1].node.name])
        per_channel = layer.granularity == "channel-wise"
        codes = saturation.weight_codes(weight) if per_channel else quantize_int8(weight, layer.weight_codes or 127)[0]
        largest = data.codes if data.dtype == "uint8" else 255
        if not saturation.weights_safe_at(codes, largest, read_int(node, "num_group", 1)):
            names.append(layer.name)
    return names


def difference_warnings(results: Sequence[OutputComparison]) -> List[str]:
    """Return what to say of outputs that are worse on this CPU than in the simulation."""
    here = detect()
    cause = "sums of products saturate here, or an operator is simulated coarsely"
    if not saturates(here):
        cause = f"nothing saturates on '{here}', so that an operator is simulated coarsely, or the plan is of old"
    return [
        f"output '{result.name}' has {result.int8_sqnr:.1f} dB on this CPU, but {result.sqnr:.1f} dB in the "
        f"simulation; {cause}"
        for result in results
        if result.int8_sqnr is not None and result.int8_sqnr < min(result.sqnr - _WORSE, _FLOAT32)
    ]
