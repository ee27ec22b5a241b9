"""Compute once what operators make of parameters alone, such as one weight joined from three.

Gluon's networks for text state parameters in parts and join them in the graph: attention its queries, keys and values,
a recurrent layer the weights of its gates. An int8 weight is made once, so what it is made from has to be a parameter.
Only operators that move values are computed, and sums and products; the value has the name of the tensor it replaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, List, Optional, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_float, read_int, read_tuple
from mxquant.graph.ir import Node
from mxquant.graph.rewriter import Rewriter, Rule
from mxquant.graph.rules.drop_identity import is_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FoldConstants", "reshaped"]

Arrays = List["NDArray[Any]"]


class FoldConstants(Rule):
    """Replace the result of an operator on parameters by a parameter."""

    name: ClassVar[str] = "fold_constants"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` reads parameters alone, and is one of the operators that are computed."""
        if node.op not in _OPERATORS or not node.inputs or is_output(rewriter, node):
            return False
        return all(rewriter.constant(tensor) is not None for tensor in node.inputs)

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse shapes that do not fit, which MXNet will refuse as well."""
        try:
            _value(rewriter, node)
        except ValueError as error:
            return str(error)
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Let the readers of `node` read a new parameter."""
        rewriter.redirect(node.output, rewriter.add_parameter(node.output.name, _value(rewriter, node)))


def _value(rewriter: Rewriter, node: Node) -> NDArray[Any]:
    values = [rewriter.constant(tensor) for tensor in node.inputs]
    result: NDArray[Any] = _OPERATORS[node.op](node, [value for value in values if value is not None])
    return np.ascontiguousarray(result)


def reshaped(shape: Tuple[int, ...], wanted: Tuple[int, ...], reverse: bool = False) -> Tuple[int, ...]:
    """Return what MXNet's Reshape makes of a shape.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the input.
    wanted : tuple of int
        The attribute: lengths, and codes for lengths: 0 one of the input, -1 what is left, -2 all that follow, -3 the
        product of two, -4 one split into the next two.
    reverse : bool
        Whether both are read from the right.

    Returns
    -------
    tuple of int
        Lengths of the result.

    Raises
    ------
    ValueError
        If the shape cannot be had.
    """
    source, codes = list(shape)[::-1] if reverse else list(shape), list(wanted)[::-1] if reverse else list(wanted)
    result: List[int] = []
    place = position = 0
    try:
        while position < len(codes):
            code = codes[position]
            if code == 0:
                result.append(source[place])
            elif code == -2:
                result += source[place:]
                place = len(source) - 1
            elif code == -3:
                result.append(source[place] * source[place + 1])
                place += 1
            elif code == -4:
                result += _split(source[place], codes[position + 1 : position + 3])
                position += 2
            else:
                result.append(code)
            place, position = place + 1, position + 1
    except IndexError:
        raise ValueError(f"shape {shape} cannot become {wanted}") from None
    count = int(np.prod(shape, dtype=np.int64))
    known = int(np.prod([length for length in result if length != -1], dtype=np.int64))
    if result.count(-1) > 1 or (count % known if -1 in result else count != known):
        raise ValueError(f"shape {shape} cannot become {wanted}")
    result = [count // known if length == -1 else length for length in result]
    return tuple(result[::-1] if reverse else result)


def _split(length: int, parts: List[int]) -> List[int]:
    first, second = parts[0], parts[1]
    if first == -1:
        first = length // second
    if second == -1:
        second = length // first
    return [first, second]


def _reshape(node: Node, values: Arrays) -> NDArray[Any]:
    wanted = read_tuple(node, "shape")
    if not wanted:
        raise ValueError("it has no shape")
    return values[0].reshape(reshaped(values[0].shape, wanted, read_bool(node, "reverse", False)))


def _numpy_reshape(node: Node, values: Arrays) -> NDArray[Any]:
    return values[0].reshape(read_tuple(node, "newshape"))


def _concat(node: Node, values: Arrays) -> NDArray[Any]:
    return np.concatenate(values, axis=read_int(node, "dim", 1))


def _flat_concat(node: Node, values: Arrays) -> NDArray[Any]:
    return np.concatenate([value.reshape(-1) for value in values])


def _stack(node: Node, values: Arrays) -> NDArray[Any]:
    return np.stack(values, axis=read_int(node, "axis", 0))


def _transpose(node: Node, values: Arrays) -> NDArray[Any]:
    return values[0].transpose(read_tuple(node, "axes") or None)


def _swap_axes(node: Node, values: Arrays) -> NDArray[Any]:
    return values[0].swapaxes(read_int(node, "dim1", 0), read_int(node, "dim2", 0))


def _expand_dims(node: Node, values: Arrays) -> NDArray[Any]:
    return np.expand_dims(values[0], read_int(node, "axis", 0))


def _slice_axis(node: Node, values: Arrays) -> NDArray[Any]:
    axis = read_int(node, "axis", 0) % values[0].ndim
    end = read_int(node, "end", values[0].shape[axis])
    return values[0][(slice(None),) * axis + (slice(read_int(node, "begin", 0), end),)]


def _by_scalar(function: Callable[[Any, Any], Any]) -> Callable[[Node, Arrays], NDArray[Any]]:
    return lambda node, values: function(values[0], values[0].dtype.type(read_float(node, "scalar", 0.0)))


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[Node, Arrays], NDArray[Any]]:
    return lambda node, values: function(*values)


_OPERATORS: Dict[str, Callable[[Node, Arrays], Any]] = {
    "Reshape": _reshape,
    "reshape": _reshape,
    "Concat": _concat,
    "concat": _concat,
    "_rnn_param_concat": _flat_concat,
    "_npi_rnn_param_concat": _flat_concat,
    "_np_reshape": _numpy_reshape,
    "stack": _stack,
    "transpose": _transpose,
    "SwapAxis": _swap_axes,
    "expand_dims": _expand_dims,
    "slice_axis": _slice_axis,
    "_plus_scalar": _by_scalar(np.add),
    "_mul_scalar": _by_scalar(np.multiply),
    "_div_scalar": _by_scalar(np.divide),
    "elemwise_add": _of_two(np.add),
    "elemwise_mul": _of_two(np.multiply),
    "broadcast_add": _of_two(np.add),
    "broadcast_mul": _of_two(np.multiply),
}
