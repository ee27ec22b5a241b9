"""Translations of ONNX's products of matrices."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from mxquant.onnx_import.arithmetic import deeper
from mxquant.onnx_import.state import Length, Step, sym

__all__ = ["PRODUCTS", "merged"]


def _gemm(step: Step) -> None:
    step.refuse_narrow()
    alpha, beta = step.attrs.get("alpha", 1.0), step.attrs.get("beta", 1.0)
    transposed = {"transpose_a": bool(step.attrs.get("transA", 0)), "transpose_b": bool(step.attrs.get("transB", 0))}
    if step.is_constant(1) and not transposed["transpose_a"]:
        weight = step.constant(1)
        weight = alpha * (weight if transposed["transpose_b"] else weight.T)
        bias = _bias(step, beta, len(weight))
        if bias is not None or not step.has(2):
            step.returns(_fully_connected(step, weight, bias))
            return
    product = sym.dot(step.symbol(0), step.symbol(1), **transposed)
    if alpha != 1:
        product = sym._internal._mul_scalar(product, scalar=alpha)
    if not step.has(2):
        step.returns(sym.identity(product, name=step.name))
        return
    added = deeper(step.symbol(2), 2 - max(step.rank(2), 1))
    if beta != 1:
        added = sym._internal._mul_scalar(added, scalar=beta)
    step.returns(sym.broadcast_add(product, added, name=step.name))


def _bias(step: Step, beta: float, units: int) -> Any:
    """Return what is added as one number for each unit; None where it is something else, or nothing."""
    if not step.has(2) or not step.is_constant(2):
        return None
    value = step.constant(2)
    if value.size != 1 and value.shape not in ((units,), (1, units)):
        return None
    return np.broadcast_to(beta * value.reshape(-1), (units,))


def _fully_connected(step: Step, weight: Any, bias: Any) -> Any:
    """Return a FullyConnected with a weight of shape (O, K) on the last axis."""
    parts = [step.state.parameter(step.inputs[1], weight)]
    if bias is not None:
        parts.append(step.state.parameter(step.inputs[2], bias))
    flatten = step.shape(0) is None or step.rank() == 2
    return sym.FullyConnected(
        *(step.symbol(0), *parts), num_hidden=len(weight), no_bias=bias is None, flatten=flatten, name=step.name
    )


def _mat_mul(step: Step) -> None:
    step.refuse_narrow()
    if step.is_constant(1) and step.constant(1).ndim == 2 and (step.shape(0) is None or step.rank() > 1):
        step.returns(_fully_connected(step, step.constant(1).T, None))
        return
    shapes: List[Tuple[Length, ...]] = [tuple(step.shape(slot) or (1,) * step.rank(slot)) for slot in (0, 1)]
    sides = [step.symbol(slot) for slot in (0, 1)]
    gone = []
    # A row on the left and a column on the right have axes of their own here, and none in the result.
    for slot, axis in ((0, -2), (1, -1)):
        if len(shapes[slot]) == 1:
            sides[slot] = sym.expand_dims(sides[slot], axis=slot)
            shapes[slot] = (*shapes[slot][:slot], 1, *shapes[slot][slot:])
            gone.append(axis)
    name = f"{step.name}_product" if gone else step.name
    product = _matrices(step, sides, shapes, name)
    step.returns(sym.squeeze(product, axis=tuple(gone), name=step.name) if gone else product)


def _matrices(step: Step, sides: List[Any], shapes: List[Tuple[Length, ...]], name: str) -> Any:
    """Return the product of two tensors of at least two dimensions."""
    rank = max(map(len, shapes))
    if rank == 2:
        return sym.dot(*sides, name=name)
    sides = _same_batches(step, sides, shapes)
    if rank == 3:
        return sym.batch_dot(*sides, name=name)
    product = sym.batch_dot(*[merged(side, rank - 3) for side in sides])
    return sym.reshape_like(product, sides[0], lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=rank - 2, name=name)


def merged(symbol: Any, times: int) -> Any:
    """Return a tensor whose first two axes have become one, as many times."""
    for _ in range(times):
        symbol = sym.reshape(symbol, shape=(-3, -2))
    return symbol


def _same_batches(step: Step, sides: List[Any], shapes: List[Tuple[Length, ...]]) -> List[Any]:
    """Return both sides with the same lengths before the matrices."""
    rank = max(map(len, shapes))
    batches = [(*[1] * (rank - len(shape)), *shape)[:-2] for shape in shapes]
    sides = [deeper(side, rank - len(shape)) for side, shape in zip(sides, shapes)]
    for axis, pair in enumerate(zip(*batches)):
        free = [length for length in pair if not isinstance(length, int)]
        if len(free) == 1 and 1 not in pair:
            raise step.refuse(
                f"it is a product of the shapes {list(shapes[0])} and {list(shapes[1])}, where a free length may be 1; "
                "give input_shapes"
            )
        if pair[0] == pair[1] or (free and 1 not in pair):
            # Free lengths of two names may still be the same.
            continue
        if 1 not in pair:
            raise step.refuse(
                f"it is a product of the shapes {list(shapes[0])} and {list(shapes[1])}, of other batches"
            )
        short = pair.index(1)
        sides[short] = sym.broadcast_like(sides[short], sides[1 - short], lhs_axes=(axis,), rhs_axes=(axis,))
    return sides


PRODUCTS: Dict[str, Callable[[Step], None]] = {"Gemm": _gemm, "MatMul": _mat_mul}
