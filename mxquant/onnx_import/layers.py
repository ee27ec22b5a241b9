"""Translations of ONNX's layers to MXNet's operators."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from mxquant.onnx_import.products import merged
from mxquant.onnx_import.state import Step, sym

__all__ = ["LAYERS", "padded", "window"]

# oneDNN takes no larger windows.
_MOST = 1 << 16
# Alpha and gamma of Selu (Klambauer et al. 2017).
_SELU = (1.6732632423543772, 1.0507009873554805)


def window(step: Step, kernel: Tuple[int, ...]) -> Tuple[Tuple[int, ...], List[int]]:
    """Return strides and pads of a window, the front of every axis first, then the back."""
    rank = len(kernel)
    strides = tuple(step.attrs.get("strides", [1] * rank))
    pads = list(step.attrs.get("pads", [0] * 2 * rank))
    dilations = list(step.attrs.get("dilations", [1] * rank))
    if min((*kernel, *strides, *dilations, step.attrs.get("group", 1)), default=1) < 1:
        raise step.refuse(f"kernel {kernel}, strides {strides}, dilations {dilations}, expected numbers above 0")
    if max((*kernel, *strides, *dilations, *pads), default=0) >= _MOST:
        raise step.refuse(f"kernel {kernel}, strides {strides}, pads {pads}, expected numbers below {_MOST}")
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise step.refuse(f"its strides, dilations or pads are not of {rank} dimensions, as its kernel {kernel}")
    if min(pads, default=0) < 0:
        raise step.refuse(f"its pads {pads} are negative, expected numbers of 0 and more")
    mode = step.attrs.get("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = [0] * 2 * rank
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        shape = step.shape(0)
        front, back = [], []
        for axis, (size, stride) in enumerate(zip(kernel, strides)):
            length = shape[axis + 2] if shape is not None else None
            if not isinstance(length, int):
                raise step.refuse(f"auto_pad={mode} needs the size of its input; give input_shapes")
            total = (-(-length // stride) - 1) * stride + (size - 1) * dilations[axis] + 1 - length
            if total < -1:
                # By ONNX's formula there is less than no padding, and a part of the data is cut off before the first.
                raise step.refuse(f"auto_pad={mode} leaves {-total} of {length} numbers out; give pads instead")
            total = max(0, total)
            small, large = total // 2, total - total // 2
            front.append(small if mode == "SAME_UPPER" else large)
            back.append(large if mode == "SAME_UPPER" else small)
        pads = front + back
    return strides, pads


def padded(step: Step, data: Any, pads: List[int], value: float) -> Tuple[Any, Tuple[int, ...]]:
    """Return data and what is left to pad alike on both sides, after a Pad with `value` where sides differ."""
    rank = len(pads) // 2
    front, back = pads[:rank], pads[rank:]
    if front == back:
        return data, tuple(front)
    if rank != 2:
        raise step.refuse(f"its pads {pads} differ between the two sides, which MXNet does in two dimensions only")
    widths = [0, 0, 0, 0, *(width for pair in zip(front, back) for width in pair)]
    name = f"{step.name}_pad"
    return sym.Pad(data, mode="constant", pad_width=widths, constant_value=value, name=name), (0,) * rank


def _conv(step: Step) -> None:
    weight = step.constant(1)
    kernel = tuple(weight.shape[2:])
    strides, pads = window(step, kernel)
    data, pad = padded(step, step.symbol(0), pads, 0.0)
    bias = [step.symbol(2)] if step.has(2) else []
    step.returns(
        sym.Convolution(
            *(data, step.symbol(1), *bias),
            kernel=kernel,
            stride=strides,
            pad=pad,
            dilate=tuple(step.attrs.get("dilations", [1] * len(kernel))),
            num_group=step.attrs.get("group", 1),
            num_filter=weight.shape[0],
            no_bias=not bias,
            name=step.name,
        )
    )


def _conv_transpose(step: Step) -> None:
    weight, group = step.constant(1), step.attrs.get("group", 1)
    kernel = tuple(weight.shape[2:])
    if "output_shape" in step.attrs or step.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        raise step.refuse("output_shape and auto_pad are not supported; pads are")
    strides, pads = window(step, kernel)
    rank = len(kernel)
    if pads[:rank] != pads[rank:]:
        raise step.refuse(f"its pads {pads} differ between the two sides")
    bias = [step.symbol(2)] if step.has(2) else []
    step.returns(
        sym.Deconvolution(
            *(step.symbol(0), step.symbol(1), *bias),
            kernel=kernel,
            stride=strides,
            pad=tuple(pads[:rank]),
            adj=tuple(step.attrs.get("output_padding", [0] * rank)),
            dilate=tuple(step.attrs.get("dilations", [1] * rank)),
            num_group=group,
            num_filter=weight.shape[1] * group,
            no_bias=not bias,
            name=step.name,
        )
    )


def _batch_norm(step: Step) -> None:
    if step.attrs.get("training_mode", 0):
        raise step.refuse("it is in training mode")
    if not step.attrs.get("spatial", 1):
        raise step.refuse("spatial is 0, expected one mean and variance for each channel")
    for slot in (3, 4):
        # MXNet keeps them as states of the layer.
        step.constant(slot)
    parts = [step.symbol(slot) for slot in range(5)]
    eps = step.attrs.get("epsilon", 1e-5)
    step.returns(sym.BatchNorm(*parts, eps=eps, fix_gamma=False, use_global_stats=True, name=step.name))


def _layer_norm(step: Step) -> None:
    if step.axis(step.attrs.get("axis", -1)) != step.rank() - 1:
        raise step.refuse(f"axis is {step.attrs['axis']}, expected the last")
    scale = step.constant(1)
    if scale.ndim != 1 or scale.shape[0] != (step.length(step.rank() - 1) or scale.shape[0]):
        raise step.refuse(f"its scale has the shape {scale.shape}, expected one number for each place of the last axis")
    beta = step.symbol(2) if step.has(2) else step.state.parameter(f"{step.name}_beta", np.zeros_like(scale))
    eps = step.attrs.get("epsilon", 1e-5)
    step.returns(sym.LayerNorm(step.symbol(0), step.symbol(1), beta, axis=-1, eps=eps, name=step.name))


def _instance_norm(step: Step) -> None:
    parts = [step.symbol(slot) for slot in range(3)]
    step.returns(sym.InstanceNorm(*parts, eps=step.attrs.get("epsilon", 1e-5), name=step.name))


def _lrn(step: Step) -> None:
    attrs = step.attrs
    if attrs["size"] % 2 == 0:
        raise step.refuse(f"size is {attrs['size']}, expected an odd number")
    step.returns(
        sym.LRN(
            step.symbol(0),
            alpha=attrs.get("alpha", 1e-4),
            beta=attrs.get("beta", 0.75),
            knorm=attrs.get("bias", 1.0),
            nsize=attrs["size"],
            name=step.name,
        )
    )


def _activation(step: Step) -> None:
    kind = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softrelu", "Softsign": "softsign"}
    step.returns(sym.Activation(step.symbol(0), act_type=kind[step.op], name=step.name))


def _clip(step: Step) -> None:
    limits = []
    for slot, (key, default) in enumerate((("min", -3.4e38), ("max", 3.4e38)), start=1):
        value = step.attrs.get(key, default)
        limits.append(step.number(slot) if step.has(slot) else value)
    step.returns(sym.clip(step.symbol(0), a_min=limits[0], a_max=limits[1], name=step.name))


def _hard_sigmoid(step: Step) -> None:
    alpha, beta = step.attrs.get("alpha", 0.2), step.attrs.get("beta", 0.5)
    step.returns(sym.hard_sigmoid(step.symbol(0), alpha=alpha, beta=beta, name=step.name))


def _hard_swish(step: Step) -> None:
    gate = sym.hard_sigmoid(step.symbol(0), alpha=1 / 6, beta=0.5, name=f"{step.name}_gate")
    step.returns(sym.elemwise_mul(step.symbol(0), gate, name=step.name))


def _leaky(step: Step) -> None:
    kind, default = {"LeakyRelu": ("leaky", 0.01), "Elu": ("elu", 1.0)}[step.op]
    slope = step.attrs.get("alpha", default)
    step.returns(sym.LeakyReLU(step.symbol(0), act_type=kind, slope=slope, name=step.name))


def _selu(step: Step) -> None:
    """Write ONNX's numbers, where MXNet has others by itself than those that Selu is defined with."""
    alpha, gamma = step.attrs.get("alpha", _SELU[0]), step.attrs.get("gamma", _SELU[1])
    if abs(alpha - _SELU[0]) < 1e-5 and abs(gamma - _SELU[1]) < 1e-5:
        step.returns(sym.LeakyReLU(step.symbol(0), act_type="selu", name=step.name))
        return
    grown = sym.LeakyReLU(step.symbol(0), act_type="elu", slope=alpha)
    step.returns(sym._internal._mul_scalar(grown, scalar=gamma, name=step.name))


def _softmax(step: Step) -> None:
    function = sym.log_softmax if step.op == "LogSoftmax" else sym.softmax
    if step.state.opset >= 13:
        step.returns(function(step.symbol(0), axis=step.attrs.get("axis", -1), name=step.name))
        return
    axis = step.axis(step.attrs.get("axis", 1))
    if axis == step.rank() - 1:
        step.returns(function(step.symbol(0), axis=axis, name=step.name))
        return
    # Older versions have two axes: what is before, and from this one on.
    data = step.symbol(0)
    flat = sym.Flatten(merged(data, axis - 1)) if axis else sym.reshape(data, shape=(1, -1))
    step.returns(sym.reshape_like(function(flat, axis=-1), data, name=step.name))


def _pad(step: Step) -> None:
    mode = step.attrs.get("mode", "constant")
    if mode not in ("constant", "edge", "reflect"):
        raise step.refuse(f"mode is {mode}, expected constant, edge or reflect")
    pads = step.numbers("pads", 1)
    if pads is None or min(pads, default=0) < 0:
        raise step.refuse(f"pads are {pads}, expected numbers of 0 and more")
    rank = step.rank()
    axes = [step.axis(int(axis)) for axis in step.constant(3)] if step.has(3) else list(range(rank))
    if len(pads) != 2 * len(axes):
        raise step.refuse(f"pads are {pads}, expected {2 * len(axes)} numbers")
    widths = [0] * 2 * rank
    for place, axis in enumerate(axes):
        widths[2 * axis], widths[2 * axis + 1] = pads[place], pads[len(axes) + place]
    _check_reflection(step, mode, widths)
    value = step.number(2) if step.has(2) else step.attrs.get("value", 0.0)
    data, axes = step.symbol(0), [axis for axis in range(rank) if any(widths[2 * axis : 2 * axis + 2])]
    if not axes:
        step.returns(sym.identity(data, name=step.name))
        return
    options = {"mode": mode, "constant_value": value}
    if rank == 4 and axes[0] > 1:
        step.returns(sym.Pad(data, pad_width=widths, name=step.name, **options))
        return
    for axis in axes:
        data = _padded_axis(step, data, axis, widths[2 * axis : 2 * axis + 2], options)
    step.returns(sym.identity(data, name=step.name))


# How tensors of one to four axes become such of four, of which the last stays the last, and how they come back.
_DEEPER = {1: ((1, 1, 1, -1), (-1,)), 2: ((0, 1, 1, -1), (0, -1)), 3: ((0, 0, 1, -1), (0, 0, -1)), 4: ((), ())}


def _padded_axis(step: Step, data: Any, axis: int, widths: List[int], options: Dict[str, Any]) -> Any:
    """Pad one axis of a tensor: MXNet pads the last two axes of four."""
    rank = step.rank()
    if rank not in _DEEPER:
        raise step.refuse(f"it pads axis {axis} of {rank}; of more than four axes none can be padded")
    turned = [*(each for each in range(rank) if each != axis), axis]
    deeper, back = _DEEPER[rank]
    if axis != rank - 1:
        data = sym.transpose(data, axes=turned)
    data = sym.reshape(data, shape=deeper) if deeper else data
    data = sym.Pad(data, pad_width=[0] * 6 + widths, **options)
    data = sym.reshape(data, shape=back) if back else data
    return data if axis == rank - 1 else sym.transpose(data, axes=[turned.index(each) for each in range(rank)])


def _check_reflection(step: Step, mode: str, widths: List[int]) -> None:
    """Refuse more numbers than there are to be mirrored, for which MXNet would read what is not the tensor's."""
    for axis in range(len(widths) // 2):
        most, length = max(widths[2 * axis : 2 * axis + 2]), step.length(axis)
        if mode != "reflect" or not most:
            continue
        if length is None:
            raise step.refuse("it reflects an axis whose length is free; give input_shapes")
        if most >= length:
            raise step.refuse(f"it reflects {most} numbers of an axis of {length}, expected fewer than there are")


LAYERS: Dict[str, Callable[[Step], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign"), _activation),
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    **dict.fromkeys(("LeakyRelu", "Elu"), _leaky),
    "Selu": _selu,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Pad": _pad,
}
