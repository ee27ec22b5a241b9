"""A collector that a user's own Executor or Module feeds, between ``quantize_graph`` and ``calib_graph``.

It is set as a monitor callback, sees every tensor that MXNet reports, and keeps those of the user's network. What a
user binds is often fused already, and then fused nodes report under names of their own; a fused node's output is the
tensor of the last layer inside it, so its name is translated back.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.model import Model
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of
from mxquant.stats import Histogram, HistogramCollector, Statistics
from mxquant.version import __version__

__all__ = ["MonitorCollector", "Pending", "statistics_of"]


@dataclass(frozen=True)
class Pending:
    """What ``calib_graph`` has to know of the call of ``quantize_graph`` before it.

    Parameters
    ----------
    model : Model
        The fp32 network.
    options : mapping
        The user's choices, as fields of PlanOptions.
    tensors : mapping of str to str
        The user's tensor names by the names under which MXNet may report them.
    """

    model: Model
    options: Mapping[str, Any]
    tensors: Mapping[str, str]

    @classmethod
    def of(cls, symbol: Any, model: Model, options: Mapping[str, Any]) -> Pending:
        """Return the state for `symbol`, which is `model`'s."""
        canonical = model.canonical.network
        names = {node.name: node.name for node in canonical.inputs}
        last: Dict[str, str] = {}
        for node in canonical.graph.operators:
            names.update({name: name for name in node.output_names or (node.output.name,)})
            last[node.layers[-1]] = node.output.name
        for backend in ("MKLDNN_QUANTIZE", "MKLDNN"):
            for node in graph_of(backend_symbol(symbol, backend)).operators:
                head = node.subgraphs[0].outputs[0].node.name if node.subgraphs else ""
                if head in last:
                    names[node.output.name] = last[head]
        return cls(model, options, names)


class MonitorCollector:
    """Histograms of what a monitor reports.

    Use it as ``executor.set_monitor_callback(collector.collect, monitor_all=True)``.

    Attributes
    ----------
    histograms : HistogramCollector
        What was seen so far.
    """

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.histograms = HistogramCollector()
        self.failure: Optional[BaseException] = None

    @property
    def min_max_dict(self) -> Dict[str, Tuple[float, float]]:
        """Smallest and largest value of every tensor seen, by name."""
        return {name: (each.minimum, each.maximum) for name, each in self.histograms.histograms.items()}

    def collect(self, name: Any, handle: Any) -> None:
        """Take note of a tensor: the monitor's callback.

        Parameters
        ----------
        name : bytes or str
            Its name, as MXNet reports it.
        handle : ctypes pointer
            The NDArray's handle, which is released afterwards.
        """
        array = mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False)
        text = name.decode() if isinstance(name, bytes) else name
        tensor = self.pending.tensors.get(text)
        if tensor is None or self.failure is not None or array.dtype != np.float32:
            return
        try:
            self.histograms.observe(tensor, array.asnumpy())
        except BaseException as error:
            # A callback's exception would be printed and forgotten; it is raised by `calib_graph`.
            self.failure = error


def statistics_of(collector: Any) -> Tuple[Pending, Statistics]:
    """Return what a filled collector knows.

    Parameters
    ----------
    collector : MonitorCollector or object
        What ``quantize_graph`` returned; an object of the user's own has a dictionary ``min_max_dict`` of (smallest,
        largest) by tensor name.

    Returns
    -------
    tuple
        State of the call of ``quantize_graph``, and the statistics.

    Raises
    ------
    InputError
        If the collector does not come from ``quantize_graph``, or has seen nothing.
    """
    pending = getattr(collector, "pending", None)
    if not isinstance(pending, Pending):
        raise InputError(f"collector: found {type(collector).__name__}, expected the one that quantize_graph returned")
    if isinstance(collector, MonitorCollector):
        if collector.failure is not None:
            raise collector.failure
        histograms = collector.histograms.histograms
    else:
        known = pending.tensors
        ranges = collector.min_max_dict
        histograms = {known[n]: Histogram.of(np.array(r, np.float32)) for n, r in ranges.items() if n in known}
    if not histograms:
        raise InputError(
            "collector: it has seen no tensor of the network; set it as monitor callback of the fp32 network's "
            "executor (monitor_all=True) and run forward passes"
        )
    digest = pending.model.digest
    return pending, Statistics(histograms, digest, 0, 0, __version__, mx.__version__)
