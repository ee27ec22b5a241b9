"""Translations of ONNX's pooling; :mod:`mxquant.onnx_import.windows` tells what its ``ceil_mode`` is."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from mxquant.onnx_import.layers import padded, window
from mxquant.onnx_import.state import Step, sym
from mxquant.onnx_import.windows import last_window

__all__ = ["POOLING"]

_LOWEST = -3.0e38


def _pool(step: Step) -> None:
    kind = {"MaxPool": "max", "AveragePool": "avg"}[step.op]
    kernel = tuple(step.attrs["kernel_shape"])
    rank = len(kernel)
    strides, pads = window(step, kernel)
    counted = bool(step.attrs.get("count_include_pad", 0))
    if any(number != 1 for number in step.attrs.get("dilations", [])):
        raise step.refuse("dilated pooling is not supported")
    if len(step.outputs) > 1 and step.outputs[1]:
        raise step.refuse("the indices of the largest values are not supported")
    if any(pad >= size for pad, size in zip(pads, (*kernel, *kernel))):
        raise step.refuse(f"its pads are {pads}, expected smaller numbers than its kernel has: {kernel}")
    if kind == "avg" and pads[:rank] != pads[rank:] and not counted:
        raise step.refuse(f"its pads {pads} differ between the two sides, and are not counted")
    full = False
    if step.attrs.get("ceil_mode", 0):
        full, pads = _ceiling(step, kernel, strides, pads)
    data, pad = padded(step, step.symbol(0), pads, 0.0 if kind == "avg" else _LOWEST)
    step.returns(
        sym.Pooling(
            data,
            kernel=kernel,
            stride=strides,
            pad=pad,
            pool_type=kind,
            pooling_convention="full" if full else "valid",
            **({"count_include_pad": counted} if kind == "avg" else {}),
            name=step.name,
        )
    )


def _ceiling(step: Step, kernel: Sequence[int], strides: Sequence[int], pads: List[int]) -> Tuple[bool, List[int]]:
    """Return whether MXNet's convention 'full' has ONNX's windows, or else pads with which 'valid' has."""
    rank = len(kernel)
    windows = [
        _windows(step, step.length(axis + 2), kernel[axis], strides[axis], pads[axis], pads[rank + axis])
        for axis in range(rank)
    ]
    if all(each.valid for each in windows):
        return False, pads
    if all(each.full for each in windows):
        return True, pads
    if step.op == "AveragePool" or any(each.beyond is None for each in windows):
        raise step.refuse(
            f"its ceil_mode with the pads {pads} adds a window on some axes and none on others, which MXNet does for "
            "all or none; give input_shapes, or pad the data before"
        )
    return False, [*pads[:rank], *(pad + (each.beyond or 0) for pad, each in zip(pads[rank:], windows))]


class _Windows(NamedTuple):
    """Whether MXNet's conventions have ONNX's windows on an axis; how far the last reaches, None where it is free."""

    valid: bool
    full: bool
    beyond: Optional[int]


def _windows(step: Step, length: Optional[int], size: int, stride: int, front: int, back: int) -> _Windows:
    if stride == 1:
        return _Windows(True, True, 0)
    if length is None and back > size - stride:
        raise step.refuse(
            "its ceil_mode needs the size of its input, since a window that begins in padding is left out; give "
            "input_shapes"
        )
    if length is None:
        return _Windows(False, True, None)
    count, beyond = last_window(length, size, stride, front, back)
    room = length + front + back - size
    return _Windows(room // stride + 1 == count, -(-room // stride) + 1 == count, beyond)


def _global_pool(step: Step) -> None:
    kind = {"GlobalMaxPool": "max", "GlobalAveragePool": "avg"}[step.op]
    rank = step.rank() - 2
    if not 1 <= rank <= 3:
        raise step.refuse(f"its data have {rank + 2} dimensions, expected 3 to 5")
    step.returns(sym.Pooling(step.symbol(0), kernel=(1,) * rank, global_pool=True, pool_type=kind, name=step.name))


POOLING: Dict[str, Callable[[Step], None]] = {
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool"), _global_pool),
}
