"""Collectors under the names and in the forms of ``mxnet.contrib.quantization`` 1.7 to 1.9.1, for code that has them.

Each has ``collect(name, handle)``, a monitor callback, and a dictionary of what it saw. Calibration itself uses
:class:`~mxquant.calibration.monitor_collector.MonitorCollector`, whose histograms merge exactly in any order.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError, NonFiniteError
from mxquant.runtime.mxnet import mx
from mxquant.shown import printable
from mxquant.stats.linear_histogram import combine_histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__: List[str] = []

Ranges = Dict[str, Tuple[float, float]]


def _observed(name: Any, handle: Any, include_layer: Optional[Sequence[str]]) -> Tuple[str, Optional[NDArray[Any]]]:
    """Return a tensor's name, and its values where it is wanted. An array is made anyhow: it frees the handle."""
    array = mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False)
    text = name.decode() if isinstance(name, bytes) else name
    if include_layer is not None and text not in include_layer:
        return text, None
    return text, array.asnumpy()


def _limits(name: str, values: NDArray[Any]) -> Tuple[float, float]:
    """Return smallest and largest value; raise NonFiniteError for what is no number."""
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise NonFiniteError(name, wrong, values.size)
    return values.min(), values.max()


class _LayerOutputMinMaxCollector:
    """Smallest and largest value of tensors by name, ``min_max_dict``; `include_layer` of None wants all tensors."""

    def __init__(
        self, quantized_dtype: str = "int8", include_layer: Optional[Sequence[str]] = None, logger: Any = None
    ) -> None:
        self.min_max_dict: Ranges = {}
        self.quantized_dtype = quantized_dtype
        self.include_layer = include_layer
        self.logger = logger

    def collect(self, name: Any, arr: Any) -> None:
        """Take note of a tensor: the monitor's callback."""
        name, values = _observed(name, arr, self.include_layer)
        if values is None or not values.size:
            return
        low, high = _limits(name, values)
        before = self.min_max_dict.get(name, (low, high))
        self.min_max_dict[name] = (min(before[0], low), max(before[1], high))
        if self.logger:
            self.logger.debug("%s: from %g to %g", printable(name), *self.min_max_dict[name])


class _LayerHistogramCollector:
    """Histograms of tensors by name, ``hist_dict``, each (counts, edges, smallest, largest, th)."""

    def __init__(self, num_bins: int = 8001, include_layer: Optional[Sequence[str]] = None, logger: Any = None) -> None:
        if num_bins < 1 or num_bins % 2 == 0:
            raise InputError(f"num_bins is {num_bins}, expected an odd number")
        self.hist_dict: Dict[str, Tuple[Any, Any, float, float, float]] = {}
        self.num_bins = num_bins
        self.include_layer = include_layer
        self.logger = logger

    @property
    def min_max_dict(self) -> Ranges:
        """Smallest and largest value by name, as the other collector has them."""
        return {name: (each[2], each[3]) for name, each in self.hist_dict.items()}

    def collect(self, name: Any, arr: Any) -> None:
        """Take note of a tensor: the monitor's callback."""
        name, values = _observed(name, arr, self.include_layer)
        if values is None or not values.size:
            return
        low, high = _limits(name, values)
        empty = (np.zeros(self.num_bins, np.int64), np.linspace(0, 0, self.num_bins + 1), low, high, 0.0)
        largest = max(abs(low), abs(high))
        self.hist_dict[name] = combine_histogram(self.hist_dict.get(name, empty), values, low, high, largest)
        if self.logger:
            self.logger.debug("%s: histogram of shape %s", printable(name), values.shape)


class _LayerOutputCollector:
    """Tensors themselves by name, a list of NDArrays each: ``nd_dict``."""

    def __init__(self, include_layer: Optional[Sequence[str]] = None, logger: Any = None) -> None:
        self.nd_dict: Dict[str, List[Any]] = {}
        self.include_layer = include_layer
        self.logger = logger

    def collect(self, name: Any, arr: Any) -> None:
        """Keep a copy of a tensor: the monitor's callback."""
        name, values = _observed(name, arr, self.include_layer)
        if values is None:
            return
        self.nd_dict.setdefault(name, []).append(mx.nd.array(values, dtype=values.dtype))
        if self.logger:
            self.logger.debug("%s: shape %s", printable(name), values.shape)


def _collect_layer_statistics(
    mod: Any, data: Any, collector: Any, max_num_examples: Optional[int] = None, logger: Any = None
) -> int:
    """Run a bound Module over data, with a collector as its monitor callback.

    Parameters
    ----------
    mod : mxnet.mod.Module
        The fp32 network, bound and with parameters.
    data : DataIter
        Examples; it is read from where it stands.
    collector : object
        Has a method ``collect(name, handle)``.
    max_num_examples : int, optional
        After how many examples no further batch is read. Batches are taken whole.
    logger : logging.Logger, optional
        Told how many there were.

    Returns
    -------
    int
        How many examples were read, without those that fill up the last batch.

    Raises
    ------
    InputError
        If `data` is no DataIter, or has no batch.
    """
    if not isinstance(data, mx.io.DataIter):
        raise InputError(f"data: found {type(data).__name__}, expected a DataIter")
    failures: List[BaseException] = []
    callback = _reporting(collector.collect, failures)
    mod._exec_group.execs[0].set_monitor_callback(callback, monitor_all=True)
    batches = examples = 0
    for batch in data:
        mod.forward(data_batch=batch, is_train=False)
        for output in mod.get_outputs():
            output.wait_to_read()
        if failures:
            raise failures[0]
        batches += 1
        examples += data.batch_size - (batch.pad or 0)
        if max_num_examples is not None and examples >= max_num_examples:
            break
    if not batches:
        raise InputError("data: it has no batch left; reset it before")
    if logger is not None:
        logger.info("collected from %d examples in %d batches", examples, batches)
    return examples


def _reporting(collect: Callable[[Any, Any], None], failures: List[BaseException]) -> Callable[[Any, Any], None]:
    """Return a callback that keeps exceptions, which MXNet would print and forget."""

    def callback(name: Any, handle: Any) -> None:
        try:
            collect(name, handle)
        except BaseException as error:
            failures.append(error)

    return callback
