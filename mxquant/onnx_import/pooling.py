"""Translations of ONNX's pooling; :mod:`mxquant.onnx_import.windows` tells what its ``ceil_mode`` is."""

from __future__ import annotations

from typing import Callable, Dict, List, Sequence

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
    missing = _beyond(step, kernel, strides, pads) if step.attrs.get("ceil_mode", 0) else [0] * rank
    if kind == "avg" and pads[:rank] != pads[rank:] and not counted:
        raise step.refuse(f"its pads {pads} differ between the two sides, and are not counted")
    full = any(missing)
    if full and not all(missing):
        if kind == "avg":
            raise step.refuse(
                f"its ceil_mode adds a window on some axes and none on others ({missing} of its numbers are beyond the "
                "padding), which MXNet does for all axes or none"
            )
        pads = [*pads[:rank], *(pad + more for pad, more in zip(pads[rank:], missing))]
        full = False
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


def _beyond(step: Step, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]) -> List[int]:
    """Return how far the last window reaches beyond the padding on each axis, 0 where it does not."""
    rank, found = len(kernel), []
    for axis, (size, stride) in enumerate(zip(kernel, strides)):
        front, back = pads[axis], pads[rank + axis]
        length = step.length(axis + 2)
        if length is None and back > size - stride:
            raise step.refuse(
                "its ceil_mode needs the size of its input, since a window that begins in padding is left out; give "
                "input_shapes"
            )
        # Where the length is free no window can begin there; whether there is one more does not matter then.
        found.append(1 if length is None else last_window(length, size, stride, front, back)[1])
    return found


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
