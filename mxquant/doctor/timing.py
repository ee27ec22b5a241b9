"""How long each layer takes, in fp32 and in int8: a monitor waits for every operator as it runs in MXNet.

What the monitor adds to each operator, some 0.05 ms, is in the figures. Operators are fused as they are without it, so
that a layer that MXNet computes together with another has its time there.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

from mxquant.analysis.turns import bound
from mxquant.graph import Network
from mxquant.graph.barriers import fusable
from mxquant.lowering.onednn import OneDNN, fused_for
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of, symbol_of
from mxquant.runtime.runner import reported_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CONVERSIONS", "fp32_milliseconds", "int8_milliseconds"]

# What is spent on operators that belong to no layer.
CONVERSIONS = "(conversions)"
_ROUNDS = 5


def fp32_milliseconds(network: Network, plan: QuantPlan, inputs: Mapping[str, NDArray[Any]]) -> Dict[str, float]:
    """Return the milliseconds of each layer of a plan in float32, with MXNet's own fusions.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A plan for it.
    inputs : mapping of str to numpy.ndarray
        One batch by name of the input.

    Returns
    -------
    dict of str to float
        By name of the layer.
    """
    layers = {name: layer.name for layer in plan.layers.values() for name in layer.contains}
    made = {node.output.name: layers.get(node.layers[0], "") for node in network.graph.operators}
    fused = backend_symbol(symbol_of(fusable(network.graph)), "MKLDNN")
    owners = {output: made[name] for output, name in reported_names(network.graph, fused).items() if name in made}
    total: Dict[str, float] = defaultdict(float)
    for output, spent in _outputs(bound(Network(graph_of(fused), network.params), inputs)).items():
        if owners.get(output):
            total[owners[output]] += spent
    return dict(total)


def int8_milliseconds(
    network: Network, plan: QuantPlan, int8: Network, inputs: Mapping[str, NDArray[Any]]
) -> Dict[str, float]:
    """Return the milliseconds of each layer of an int8 network on this CPU.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    plan : QuantPlan
        A plan for the target 'onednn'.
    int8 : Network
        What lowering has made of both.
    inputs : mapping of str to numpy.ndarray
        One batch by name of the input.

    Returns
    -------
    dict of str to float
        By name of the layer; conversions between float32 and int8 under :data:`CONVERSIONS`.
    """
    owners: Dict[str, str] = {}
    for node in fused_for(OneDNN(), network, plan).graph.operators:
        owners.update({f"{prefix}{node.name}": node.layers[0] for prefix in ("", "quantized_", "requantize_")})
        # What makes an output of the network has its name.
        owners.update(dict.fromkeys(node.layers, node.layers[0]))
    executor = bound(int8, inputs)
    operators = [node.name for node in graph_of(executor._symbol).operators]
    total: Dict[str, float] = defaultdict(float)
    for output, spent in _outputs(executor).items():
        # An output is called after its node: the longest name that fits is the node's.
        node_name = max((name for name in operators if output.startswith(f"{name}_")), key=len, default="")
        total[owners.get(node_name, CONVERSIONS)] += spent
    return dict(total)


def _outputs(executor: Any) -> Dict[str, float]:
    """Return the median milliseconds until each output of an operator is there, by the name that MXNet gives it."""
    spent: Dict[str, List[float]] = defaultdict(list)
    last = 0.0

    def observe(name: bytes, handle: Any) -> None:
        nonlocal last
        mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False).wait_to_read()
        now = perf_counter()
        spent[name.decode()].append(now - last)
        last = now

    for number in range(_ROUNDS + 1):
        if number == 1:
            executor.set_monitor_callback(observe)
        last = perf_counter()
        for output in executor.forward(is_train=False):
            output.wait_to_read()
    return {name: 1e3 * median(times) for name, times in spent.items()}
