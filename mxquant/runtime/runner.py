"""The calibration run: forward passes of the fp32 network, every tensor of interest handed to a collector.

An Executor's monitor reports each operator's outputs. What it takes to use it rightly:

* where a tensor of interest would be inside an operator that MXNet fuses, fusion is off;
* the monitor hands over a new NDArray handle each time; it is wrapped first, or it leaks, and filtered by name second;
* an exception inside the monitor would be swallowed, so it is kept and raised after the forward pass.

MXNet waits while a tensor is counted, so that all processors can help with it.
"""

from __future__ import annotations

import copy
import ctypes
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Container, Dict, Iterable, Mapping, Optional, Protocol, Tuple

import numpy as np

from mxquant.errors import CalibrationError, GraphError, InputError, NonFiniteError
from mxquant.graph import Graph, Network, Tensor
from mxquant.graph.barriers import put_barriers, runnable, unfusable
from mxquant.runtime.batch import Batch
from mxquant.runtime.labels import labels_of
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import (
    backend_symbol,
    context,
    environment,
    first_line,
    graph_of,
    semantics,
    split_params,
    symbol_of,
)
from mxquant.runtime.sizes import check_sizes, outline

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Observer", "Runner", "reported_names", "run", "run_monitored"]

Shapes = Tuple[Tuple[str, Tuple[int, ...]], ...]


class Observer(Protocol):
    """Who is shown the tensors of a run, such as a :class:`mxquant.stats.Collector`."""

    def observe(self, name: str, array: NDArray[Any]) -> None:
        """Take note of one value of a tensor, which is not to be kept."""


def run(
    network: Network,
    batches: Iterable[Batch],
    collector: Observer,
    ctx: Any = None,
    progress: Optional[Callable[[int], None]] = None,
    tensors: Optional[Container[str]] = None,
    take_params: bool = False,
) -> Tuple[int, int]:
    """Run every batch through the network and hand its tensors to the collector.

    Parameters
    ----------
    network : Network
        The canonical fp32 network.
    batches : iterable of Batch
        Inputs by name.
    collector : Observer
        Observes the inputs and every float32 output of an operator, by the user's tensor names.
    ctx : mxnet.Context, optional
        Where to run; default: the CPU.
    progress : callable, optional
        Called with the number of examples seen, after each batch.
    tensors : container of str, optional
        Names of the tensors to observe; default: every float32 input and output of an operator.
    take_params : bool
        Whether the parameters may be taken out of `network`, so that there is no second copy of them.

    Returns
    -------
    tuple of int
        How many examples and how many batches were run.

    Raises
    ------
    NonFiniteError
        If a tensor holds NaN or infinities and the collector does not allow them.
    CalibrationError
        If the forward pass fails.
    InputError
        If a batch does not fit the network, or there is none.
    """
    runner = Runner(network, ctx, tensors, take_params)
    try:
        return runner.run(batches, collector, progress)
    finally:
        runner.close()


def run_monitored(network: Network, batches: Iterable[Batch], callback: Callable[[Any, Any], None]) -> None:
    """Run every batch through the network on the CPU with a monitor callback of the user's own.

    Parameters
    ----------
    network : Network
        The user's fp32 network; it runs without fusion.
    batches : iterable of Batch
        Inputs by name.
    callback : callable
        Called with the name (bytes) and NDArray handle of every input and output of every operator.

    Raises
    ------
    CalibrationError
        If the forward pass fails.
    InputError
        If a batch does not fit the network, or there is none.
    """
    session = _Session(network, mx.cpu(), frozenset(), callback=callback)
    try:
        _feed(session, batches)
    finally:
        session.executors.clear()


class Runner:
    """A network that runs on data as often as wanted, each time for another collector; bound once for a shape.

    Parameters
    ----------
    network, ctx, tensors, take_params
        As for :func:`run`.
    """

    def __init__(
        self,
        network: Network,
        ctx: Any = None,
        tensors: Optional[Container[str]] = None,
        take_params: bool = False,
    ) -> None:
        self._session = _Session(network, context(ctx), tensors, take_params=take_params)

    def run(
        self,
        batches: Iterable[Batch],
        collector: Observer,
        progress: Optional[Callable[[int], None]] = None,
        first: int = 0,
    ) -> Tuple[int, int]:
        """Run every batch, as :func:`run` does; the first one has the number `first` in messages."""
        self._session.collector, self._session.failure = collector, None
        return _feed(self._session, batches, progress, first)

    def close(self) -> None:
        """Give the memory back."""
        # Their callbacks lead back to the session, which would keep all its memory until Python looks for cycles.
        self._session.executors.clear()


def _feed(
    session: _Session,
    batches: Iterable[Batch],
    progress: Optional[Callable[[int], None]] = None,
    first: int = 0,
) -> Tuple[int, int]:
    examples = count = 0
    for batch in batches:
        session.forward(batch, first + count)
        examples, count = examples + batch.size, count + 1
        if progress is not None:
            progress(examples)
    if not count:
        raise InputError("the calibration data are empty; pass at least one batch")
    return examples, count


def reported_names(graph: Graph, symbol: Any) -> Dict[str, str]:
    """Return the names of a graph's tensors by those that the monitor reports for a symbol of it, fused or not.

    Left out are further results of an operator that nothing reads: MXNet does not compute them. So are tensors for
    which it reports one name, as it does where a layer is called as MXNet calls what it fuses.
    """
    nodes, uses = {node.name: node for node in graph.operators}, graph.uses()
    operators = graph_of(symbol).operators
    names: Dict[str, str] = {}
    reported = Counter(name for node in operators for name in node.output_names)
    for node in operators:
        tensors = node.subgraphs[0].outputs if node.subgraphs else [Tensor(node, i) for i in range(node.num_outputs)]
        for name, tensor in zip(node.output_names, tensors):
            original = Tensor(nodes[tensor.node.name], tensor.index) if tensor.node.name in nodes else None
            if original is not None and reported[name] == 1 and (original.index == 0 or original in uses):
                names[name] = original.name
    return names


def _complete(graph: Graph) -> Graph:
    """Let a graph return the first result of each operator where nothing reads it: MXNet would not compute it."""
    uses = graph.uses()
    graph.outputs += [node.output for node in graph.operators if node.output not in uses]
    return graph


class _Nobody:
    """An observer for runs that a callback watches."""

    def observe(self, name: str, array: NDArray[Any]) -> None:
        """Take no note."""


@dataclass
class _Session:
    """A network bound on a context, once for each shape of its inputs."""

    network: Network
    ctx: Any
    tensors: Optional[Container[str]] = None
    collector: Observer = field(default_factory=_Nobody)
    callback: Optional[Callable[[Any, Any], None]] = None
    take_params: bool = False
    executors: Dict[Shapes, Any] = field(default_factory=dict)
    failure: Optional[BaseException] = None
    buffer: Any = None
    plain: Optional[Tuple[Any, Dict[str, str]]] = None

    def __post_init__(self) -> None:
        graph = self.network.graph
        self.outline = outline(self.network)
        self.symbol = symbol_of(_complete(runnable(graph)))
        self.inputs = [node.name for node in self.network.inputs]
        args, aux = split_params(self.network, self.symbol, self.take_params)
        self.args = {name: value.as_in_context(self.ctx) for name, value in args.items()}
        self.aux = {name: value.as_in_context(self.ctx) for name, value in aux.items()}
        self.names = reported_names(graph, self.symbol)
        if self.tensors is not None and self.callback is None and self.ctx.device_type == "cpu":
            self._fuse(self.tensors)

    def _fuse(self, tensors: Container[str]) -> None:
        """Let MXNet fuse operators as it does for inference, if the tensors to observe are all still there."""
        try:
            apart = _complete(runnable(self.network.graph))
            put_barriers(apart, list(unfusable(apart)))
            fused = backend_symbol(symbol_of(apart), "MKLDNN")
            names = reported_names(self.network.graph, fused)
        except (GraphError, mx.MXNetError):
            return
        if {name for name in self.names.values() if name in tensors} <= set(names.values()):
            self.plain = self.symbol, self.names
            self.symbol, self.names = fused, names

    def _unfuse(self) -> bool:
        """Go back to the network without MXNet's fusions; return whether there were any."""
        if self.plain is None:
            return False
        (self.symbol, self.names), self.plain = self.plain, None
        self.executors, self.failure = {}, None
        return True

    def forward(self, batch: Batch, number: int) -> None:
        """Run a batch; where the first one fails, MXNet's fusions may be what fails, so that it runs again without."""
        kept = copy.deepcopy(vars(self.collector)) if self.plain is not None and number == 0 else None
        try:
            self._run(batch, number)
        except NonFiniteError:
            raise
        except CalibrationError:
            if kept is None or not self._unfuse():
                raise
            vars(self.collector).clear()
            vars(self.collector).update(kept)
            self._run(batch, number)

    def _run(self, batch: Batch, number: int) -> None:
        with semantics(self.network.graph):
            self._forward(batch, number)

    def _forward(self, batch: Batch, number: int) -> None:
        # A block may have inputs that nothing reads.
        arrays = {name: value for name, value in batch.arrays.items() if name in self.inputs}
        inputs = {name: mx.nd.array(value, ctx=self.ctx, dtype=value.dtype) for name, value in arrays.items()}
        executor = self._bind(inputs)
        try:
            for name, value in arrays.items():
                if value.dtype == np.float32 and self._is_wanted(name):
                    self.collector.observe(name, value)
            executor.forward(is_train=False)
            for output in executor.outputs:
                output.wait_to_read()
        except NonFiniteError as nonfinite:
            self.failure = nonfinite
        except mx.MXNetError as error:
            raise CalibrationError(f"the forward pass of batch {number} failed: {first_line(error)}") from error
        if self.failure is None:
            return
        if isinstance(self.failure, NonFiniteError):
            found = self.failure
            raise NonFiniteError(found.tensor, found.count, found.size, f" in batch {number}") from None
        if not isinstance(self.failure, Exception):
            raise self.failure  # Ctrl-C
        raise CalibrationError(f"batch {number}: {self.failure!r}") from self.failure

    def _bind(self, inputs: Mapping[str, Any]) -> Any:
        shapes: Shapes = tuple(sorted((name, value.shape) for name, value in inputs.items()))
        executor = self.executors.get(shapes)
        if executor is not None:
            for name, value in inputs.items():
                value.copyto(executor.arg_dict[name])
            return executor
        check_sizes(self.outline, dict(shapes))
        missing = [name for name in self.symbol.list_arguments() if name not in self.args and name not in inputs]
        labels = labels_of(self.symbol, missing, dict(shapes), self.args)
        args = {**self.args, **inputs, **{name: mx.nd.zeros(shape, ctx=self.ctx) for name, shape in labels.items()}}
        with environment(MXNET_SUBGRAPH_BACKEND="default", MXNET_SUBGRAPH_VERBOSE="0"):
            try:
                executor = self.symbol.bind(self.ctx, args, aux_states=self.aux, grad_req="null")
            except mx.MXNetError as error:
                if self._unfuse():
                    return self._bind(inputs)
                raise InputError(f"the network cannot take these inputs {dict(shapes)}: {first_line(error)}") from error
        executor.set_monitor_callback(self.callback or self._observe, monitor_all=self.callback is not None)
        self.executors = {shapes: executor}
        return executor

    def _is_wanted(self, tensor: str) -> bool:
        return self.tensors is None or tensor in self.tensors

    def _observe(self, name: bytes, handle: Any) -> None:
        array = mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False)
        tensor = self.names.get(name.decode())
        if tensor is None or self.failure is not None or not self._is_wanted(tensor) or array.dtype != np.float32:
            return
        try:
            self.collector.observe(tensor, self._copied(array))
        except BaseException as error:
            self.failure = self.failure or error

    def _copied(self, array: Any) -> NDArray[np.float32]:
        """Return the values in memory that is used again for the next tensor.

        MXNet brings them from oneDNN's order of values into NumPy's with all its threads, and in one step.
        """
        if self.buffer is None or self.buffer.size < array.size:
            self.buffer = mx.nd.empty((array.size,), mx.cpu())
        copy = self.buffer[: array.size].reshape(array.shape)
        array.copyto(copy).wait_to_read()
        pointer = ctypes.POINTER(ctypes.c_float)()
        mx.base.check_call(mx.base._LIB.MXNDArrayGetData(copy.handle, ctypes.byref(pointer)))
        return np.ctypeslib.as_array(pointer, shape=array.shape)
