"""Data as a network wants them: whole numbers stay whole where they are places, and are float32 where they are values.

NumPy's default for whole numbers is int64; ``mx.nd.array`` makes float32 of it, so that an fp32 network takes such
images. MXNet's layers with weights take float32 alone, while an Embedding takes whole numbers too. And an operator such
as a division by a number, if it is given whole numbers, rounds its result down to one. So an input stays whole only
where

* the network can be computed with it, which MXNet is asked, and
* all that its values meet, up to an operator that looks something up by them, leaves whole numbers what they are;

or where its variable says a type of whole numbers, or nothing else is possible. float32 holds every whole number up to
16,777,216.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Iterable, Iterator, Mapping, Set, Tuple

import numpy as np

from mxquant.graph import Graph, Node, Tensor
from mxquant.graph.attributes import read_float
from mxquant.graph.labels import cut_labels
from mxquant.runtime.batch import Batch
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import semantics, symbol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WantedTypes"]

_WHOLE = {"3": "uint8", "4": "int32", "5": "int8", "6": "int64"}
_LOOKING_UP: FrozenSet[str] = frozenset(
    {
        *("Embedding", "take", "batch_take", "gather_nd", "pick", "one_hot", "Cast", "cast", "shape_array"),
        *("SequenceMask", "SequenceLast", "SequenceReverse", "zeros_like", "ones_like", "_contrib_arange_like"),
    }
)
_MOVING: FrozenSet[str] = frozenset(
    {
        *("Reshape", "reshape", "Flatten", "flatten", "transpose", "SwapAxis", "expand_dims", "squeeze", "tile"),
        *("Concat", "concat", "stack", "slice", "slice_axis", "slice_like", "SliceChannel", "repeat", "reverse"),
        *("broadcast_axis", "broadcast_to", "broadcast_like", "BlockGrad", "_copy", "identity", "where", "clip"),
        *("_np_transpose", "_npx_reshape", "_np_reshape", "_np_copy", "_npi_concatenate", "_npi_stack"),
    }
)
_COMPARING = ("equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal")
_OF_TWO = (*_COMPARING, "add", "sub", "mul", "maximum", "minimum", "plus", "minus")
_EXACT: FrozenSet[str] = frozenset(
    [*(f"{prefix}{name}" for prefix in ("broadcast_", "elemwise_", "_") for name in _OF_TWO), *_MOVING]
)
_BY_SCALAR: FrozenSet[str] = frozenset(f"_{name}_scalar" for name in _OF_TWO)


class WantedTypes:
    """Which types the inputs of a network get.

    Parameters
    ----------
    graph : Graph
        Any network.
    params : mapping of str to array
        Its parameters, of which only the types count.
    """

    def __init__(self, graph: Graph, params: Mapping[str, Any]) -> None:
        self.graph = cut_labels(graph)
        self.types = {name: np.dtype(value.dtype).name for name, value in params.items()}
        inputs = [node for node in self.graph.variables if node.name not in params]
        self.types.update((node.name, "float32") for node in inputs)
        said = {node.name: _WHOLE.get(node.attrs.get("__dtype__", "")) for node in inputs}
        self.said = {name: dtype for name, dtype in said.items() if dtype is not None}
        self.known: Dict[Tuple[Tuple[str, str], ...], Mapping[str, str]] = {}

    def of(self, stream: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches in the types that the network wants."""
        for batch in stream:
            yield replace(batch, arrays=self.cast(batch.arrays))

    def cast(self, arrays: Mapping[str, NDArray[Any]]) -> Dict[str, NDArray[Any]]:
        """Return arrays by the name of the input in the types that the network wants."""
        whole = tuple((name, value.dtype.name) for name, value in arrays.items() if value.dtype.kind in "iu")
        if whole not in self.known:
            self.known[whole] = self._settled({name: dtype for name, dtype in whole if name in self.types})
        wanted = {**self.known[whole], **self.said}
        return {name: value.astype(wanted.get(name, value.dtype), copy=False) for name, value in arrays.items()}

    def _settled(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return the types of inputs for which whole numbers are given."""
        if not given:
            return {}
        floats = dict.fromkeys(given, "float32")
        kept = {name: dtype for name, dtype in given.items() if self._stays_whole(name)}
        fewer = [{**floats, **kept, name: "float32"} for name in kept]
        choices = [{**floats, **kept}, *fewer, floats, given]
        return next((each for each in choices if self._fit(each)), given)

    def _stays_whole(self, name: str) -> bool:
        """Whether the values of an input meet nothing that would compute something else of whole numbers."""
        followed: Set[Tensor] = {node.output for node in self.graph.variables if node.name == name}
        for node in self.graph.operators:
            if node.op in _LOOKING_UP or not any(tensor in followed for tensor in node.inputs):
                continue
            if node.op not in _EXACT and not _is_whole_scalar(node):
                return False
            followed.update(Tensor(node, index) for index in range(node.num_outputs))
        return True

    def _fit(self, inputs: Mapping[str, str]) -> bool:
        """Whether the network can be computed with inputs of these types, others being float32."""
        symbol = symbol_of(self.graph)
        types = {**self.types, **self.said, **inputs}
        given = {name: types[name] for name in symbol.list_arguments() if name in types}
        try:
            with semantics(self.graph):
                # What the public function adds is to print all types where they do not fit.
                symbol._infer_type_impl(True, **given)
        except mx.MXNetError:
            return False
        return True


def _is_whole_scalar(node: Node) -> bool:
    return node.op in _BY_SCALAR and read_float(node, "scalar", 0.5) % 1 == 0
