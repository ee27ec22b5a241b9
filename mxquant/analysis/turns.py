"""How long forward passes of several networks take, in turns, so that noise of the machine hits all."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any, List, Mapping, Sequence

from mxquant.graph import Network
from mxquant.graph.barriers import fusable
from mxquant.graph.labels import cut_labels
from mxquant.runtime.forward import executor_of
from mxquant.runtime.sizes import check_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bound", "milliseconds"]

_ROUNDS = 7


def bound(network: Network, inputs: Mapping[str, NDArray[Any]], fused: bool = False) -> Any:
    """Return an executor of a network for one batch by name of the input.

    With `fused` MXNet fuses operators as it does by default, which is how fp32 networks run; int8 networks are fused.
    """
    check_sizes(network, {name: value.shape for name, value in inputs.items()})
    if fused:
        return executor_of(network, fusable(network.graph), inputs, "MKLDNN")
    return executor_of(network, cut_labels(network.graph), inputs)


def milliseconds(executors: Sequence[Any]) -> List[float]:
    """Return the median milliseconds of a forward pass of each; the first one of each does not count."""
    times: List[List[float]] = [[] for _ in executors]
    for number in range(_ROUNDS + 1):
        for executor, found in zip(executors, times):
            start = time.perf_counter()
            for output in executor.forward(is_train=False):
                output.wait_to_read()
            if number:
                found.append(1e3 * (time.perf_counter() - start))
    return [median(each) for each in times]
