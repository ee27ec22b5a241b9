"""Networks that are run on batches, and timed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Container, Dict, List, Mapping, Optional, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.graph.barriers import fusable
from mxquant.graph.labels import cut_behind_labels, cut_labels
from mxquant.runtime.batch import examples_of
from mxquant.runtime.labels import labels_of
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, first_line, graph_of, symbol_of
from mxquant.runtime.sizes import check_sizes
from mxquant.runtime.wanted_types import WantedTypes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Predictor"]


@dataclass
class Predictor:
    """A network that is run on batches of named arrays, and timed.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The network.
    arg_params, aux_params : mapping of str to NDArray
        Its parameters.
    fused : bool
        Whether MXNet fuses operators by itself, as it does for an fp32 network; in an int8 network they are.
    rows : int
        How many examples are run at once, at least: smaller batches are filled up.
    """

    symbol: Any
    arg_params: Mapping[str, Any]
    aux_params: Mapping[str, Any]
    fused: bool = False
    rows: int = 0
    seconds: List[float] = field(default_factory=list)
    timed: List[int] = field(default_factory=list)
    _executor: Any = None
    _shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self._graph = graph_of(self.symbol)
        if self.fused or cut_labels(graph) is not graph:
            self.symbol = symbol_of(fusable(graph) if self.fused else cut_labels(graph))
        self._wanted = WantedTypes(graph, {**self.arg_params, **self.aux_params})

    def __call__(self, arrays: Mapping[str, NDArray[Any]], size: int) -> List[NDArray[Any]]:
        """Return the outputs for a batch.

        Raises
        ------
        InputError
            If the network does not take data of this shape.
        """
        batch = examples_of(arrays).batch
        # Results are cut again along their first axis.
        fills = not batch.whole and not any(batch.axes.values())
        rows = max(self.rows, next(iter(self._shapes.values()))[0] if self._shapes else size) if fills else size
        full = {
            name: value if batch.axes.get(name, 0) is None or not fills else _filled(value, max(rows, size))
            for name, value in arrays.items()
        }
        self.bind(full)
        begin = time.perf_counter()
        found = self.forward()
        self.seconds.append(time.perf_counter() - begin)
        self.timed.append(size)
        return [value[:size] if value.ndim and len(value) == max(rows, size) else value for value in found]

    def bind(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a batch as the next to be run; the first of a shape also is run, unmeasured."""
        arrays = self._wanted.cast(arrays)
        shapes = {name: value.shape for name, value in arrays.items()}
        if shapes == self._shapes:
            for name, value in arrays.items():
                if name in self._executor.arg_dict:  # a block may have inputs that nothing reads
                    self._executor.arg_dict[name][:] = value
            return
        check_sizes(Network(cut_labels(self._graph), {**self.arg_params, **self.aux_params}), shapes)
        data = {name: mx.nd.array(value, dtype=value.dtype) for name, value in arrays.items()}
        self._cut_behind_labels(arrays)
        try:
            data.update(self._labels(shapes))
            with environment(MXNET_SUBGRAPH_BACKEND="MKLDNN" if self.fused else "default"):
                self._executor = self.symbol.bind(
                    mx.cpu(), {**self.arg_params, **data}, aux_states=dict(self.aux_params), grad_req="null"
                )
            self.forward()
        except (mx.MXNetError, ValueError) as error:
            raise InputError(
                f"the network does not take data of shape {_named(shapes)}: {first_line(error)}; see --image-size and "
                "--layout"
            ) from error
        self._shapes = shapes

    def _cut_behind_labels(self, inputs: Container[str]) -> None:
        """Leave out what depends on inputs without data, which labels are."""
        free = {node.name for node in self._graph.variables} - {*self.arg_params, *self.aux_params}
        cut = cut_behind_labels(self._graph, {name for name in free if name not in inputs})
        if cut is not self._graph:
            self._graph = cut
            self.symbol = symbol_of(fusable(cut) if self.fused else cut_labels(cut))

    def forward(self) -> List[NDArray[Any]]:
        """Return the outputs for the batch that was taken last."""
        return [output.asnumpy() for output in self._executor.forward(is_train=False)]

    def _labels(self, shapes: Mapping[str, Tuple[int, ...]]) -> Dict[str, Any]:
        """Return zeros for inputs without data, which labels are."""
        missing = [name for name in self.symbol.list_arguments() if name not in self.arg_params and name not in shapes]
        found = labels_of(self.symbol, missing, shapes, self.arg_params)
        return {name: mx.nd.zeros(shape) for name, shape in found.items()}

    @property
    def per_second(self) -> Optional[float]:
        """Examples a second by the median batch; None before the first."""
        return median(n / s for n, s in zip(self.timed, self.seconds)) if self.seconds else None


def _filled(value: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return a batch that is as long as the others, so that the network need not be bound again."""
    if not value.ndim or len(value) == rows:
        return value
    return np.concatenate([value, np.zeros((rows - len(value), *value.shape[1:]), value.dtype)])


def _named(shapes: Mapping[str, Tuple[int, ...]]) -> str:
    return ", ".join(f"{shape} for '{name}'" for name, shape in shapes.items())
