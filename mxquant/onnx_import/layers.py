"""Translations of ONNX's layers to MXNet's operators."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from mxquant.onnx_import.state import Step
from mxquant.runtime.mxnet import mx

__all__ = ["LAYERS"]

sym = mx.sym
_LOWEST = -3.0e38


def _window(step: Step, kernel: Tuple[int, ...]) -> Tuple[Tuple[int, ...], List[int]]:
    """Return strides and pads, the front of every axis first, then the back."""
    rank = len(kernel)
    strides = tuple(step.attrs.get("strides", [1] * rank))
    pads = list(step.attrs.get("pads", [0] * 2 * rank))
    dilations = list(step.attrs.get("dilations", [1] * rank))
    if min((*kernel, *strides, *dilations, step.attrs.get("group", 1)), default=1) < 1:
        raise step.refuse(f"kernel {kernel}, strides {strides}, dilations {dilations}, expected numbers above 0")
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise step.refuse(f"its strides, dilations or pads are not of {rank} dimensions, as its kernel {kernel}")
    mode = step.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        shape = step.shape(0)
        front, back = [], []
        for axis, (size, stride) in enumerate(zip(kernel, strides)):
            length = shape[axis + 2] if shape is not None else None
            if not isinstance(length, int):
                raise step.refuse(f"auto_pad={mode} needs the size of its input; give input_shapes")
            total = max(0, (-(-length // stride) - 1) * stride + (size - 1) * dilations[axis] + 1 - length)
            small, large = total // 2, total - total // 2
            front.append(small if mode == "SAME_UPPER" else large)
            back.append(large if mode == "SAME_UPPER" else small)
        pads = front + back
    return strides, pads


def _padded(step: Step, data: Any, pads: List[int], value: float) -> Tuple[Any, Tuple[int, ...]]:
    """Return data and what is left to pad alike on both sides, after a Pad where sides differ."""
    rank = len(pads) // 2
    front, back = pads[:rank], pads[rank:]
    if front == back:
        return data, tuple(front)
    if min(pads) < 0:
        raise step.refuse(f"its pads {pads} are negative")
    if rank != 2:
        raise step.refuse(f"its pads {pads} differ between the two sides, which MXNet does in two dimensions only")
    widths = [0, 0, 0, 0, *(width for pair in zip(front, back) for width in pair)]
    name = f"{step.name}_pad"
    return sym.Pad(data, mode="constant", pad_width=widths, constant_value=value, name=name), (0,) * rank


def _conv(step: Step) -> None:
    weight = step.constant(1)
    kernel = tuple(weight.shape[2:])
    strides, pads = _window(step, kernel)
    data, pad = _padded(step, step.symbol(0), pads, 0.0)
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
    strides, pads = _window(step, kernel)
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


def _gemm(step: Step) -> None:
    alpha, beta = step.attrs.get("alpha", 1.0), step.attrs.get("beta", 1.0)
    if step.attrs.get("transA", 0) or not step.is_constant(1):
        raise step.refuse("only a product with a constant matrix on the right is supported")
    weight = step.constant(1)
    weight = alpha * (weight if step.attrs.get("transB", 0) else weight.T)
    bias = None
    if step.has(2):
        bias = beta * step.constant(2).reshape(-1)
        bias = np.broadcast_to(bias, (len(weight),)) if bias.size in (1, len(weight)) else None
        if bias is None:
            raise step.refuse(f"its bias has shape {step.constant(2).shape}, expected ({len(weight)},)")
    step.returns(_fully_connected(step, weight, bias))


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
    if step.is_constant(1) and step.constant(1).ndim == 2:
        step.returns(_fully_connected(step, step.constant(1).T, None))
    elif step.rank(0) == step.rank(1) == 3:
        step.returns(sym.batch_dot(step.symbol(0), step.symbol(1), name=step.name))
    elif step.rank(0) == step.rank(1) == 2:
        step.returns(sym.dot(step.symbol(0), step.symbol(1), name=step.name))
    elif step.rank(0) == step.rank(1) == 4:
        left, right = (sym.reshape(step.symbol(slot), shape=(-3, 0, 0)) for slot in (0, 1))
        product = sym.batch_dot(left, right)
        step.returns(sym.reshape_like(product, step.symbol(0), lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2))
    else:
        raise step.refuse(f"a product of {step.rank(0)} and {step.rank(1)} dimensions is not supported")


def _pool(step: Step) -> None:
    kind = {"MaxPool": "max", "AveragePool": "avg"}[step.op]
    kernel = tuple(step.attrs["kernel_shape"])
    strides, pads = _window(step, kernel)
    counted = bool(step.attrs.get("count_include_pad", 0))
    if any(number != 1 for number in step.attrs.get("dilations", [])):
        raise step.refuse("dilated pooling is not supported")
    if len(step.outputs) > 1 and step.outputs[1]:
        raise step.refuse("the indices of the largest values are not supported")
    full = bool(step.attrs.get("ceil_mode", 0))
    if kind == "avg" and (pads[: len(kernel)] != pads[len(kernel) :]) and not counted:
        raise step.refuse(f"its pads {pads} differ between the two sides, and are not counted")
    data, pad = _padded(step, step.symbol(0), pads, 0.0 if kind == "avg" else _LOWEST)
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


def _global_pool(step: Step) -> None:
    kind = {"GlobalMaxPool": "max", "GlobalAveragePool": "avg"}[step.op]
    kernel = (1,) * (step.rank() - 2)
    step.returns(sym.Pooling(step.symbol(0), kernel=kernel, global_pool=True, pool_type=kind, name=step.name))


def _batch_norm(step: Step) -> None:
    if step.attrs.get("training_mode", 0):
        raise step.refuse("it is in training mode")
    parts = [step.symbol(slot) for slot in range(5)]
    eps = step.attrs.get("epsilon", 1e-5)
    step.returns(sym.BatchNorm(*parts, eps=eps, fix_gamma=False, use_global_stats=True, name=step.name))


def _layer_norm(step: Step) -> None:
    if step.axis(step.attrs.get("axis", -1)) != step.rank() - 1:
        raise step.refuse(f"axis is {step.attrs['axis']}, expected the last")
    scale = step.constant(1)
    beta = step.symbol(2) if step.has(2) else step.state.parameter(f"{step.name}_beta", np.zeros_like(scale))
    eps = step.attrs.get("epsilon", 1e-5)
    step.returns(sym.LayerNorm(step.symbol(0), step.symbol(1), beta, axis=-1, eps=eps, name=step.name))


def _instance_norm(step: Step) -> None:
    parts = [step.symbol(slot) for slot in range(3)]
    step.returns(sym.InstanceNorm(*parts, eps=step.attrs.get("epsilon", 1e-5), name=step.name))


def _lrn(step: Step) -> None:
    attrs = step.attrs
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
        limits.append(float(step.constant(slot).reshape(())) if step.has(slot) else value)
    step.returns(sym.clip(step.symbol(0), a_min=limits[0], a_max=limits[1], name=step.name))


def _hard_sigmoid(step: Step) -> None:
    alpha, beta = step.attrs.get("alpha", 0.2), step.attrs.get("beta", 0.5)
    step.returns(sym.hard_sigmoid(step.symbol(0), alpha=alpha, beta=beta, name=step.name))


def _hard_swish(step: Step) -> None:
    gate = sym.hard_sigmoid(step.symbol(0), alpha=1 / 6, beta=0.5, name=f"{step.name}_gate")
    step.returns(sym.elemwise_mul(step.symbol(0), gate, name=step.name))


def _leaky(step: Step) -> None:
    kind, default = {"LeakyRelu": ("leaky", 0.01), "Elu": ("elu", 1.0), "Selu": ("selu", None)}[step.op]
    slope = {} if default is None else {"slope": step.attrs.get("alpha", default)}
    step.returns(sym.LeakyReLU(step.symbol(0), act_type=kind, name=step.name, **slope))


def _prelu(step: Step) -> None:
    slope = step.constant(1)
    if slope.size != max(slope.shape, default=1):
        raise step.refuse(f"its slope has shape {slope.shape}, expected one number for each channel")
    gamma = step.state.parameter(step.inputs[1], slope.reshape(-1))
    step.returns(sym.LeakyReLU(step.symbol(0), gamma, act_type="prelu", name=step.name))


def _softmax(step: Step) -> None:
    function = sym.log_softmax if step.op == "LogSoftmax" else sym.softmax
    if step.state.opset >= 13:
        step.returns(function(step.symbol(0), axis=step.attrs.get("axis", -1), name=step.name))
        return
    axis = step.axis(step.attrs.get("axis", 1))
    if axis != step.rank() - 1:
        raise step.refuse("before version 13 it flattens axes, which is supported for the last axis only")
    step.returns(function(step.symbol(0), axis=axis, name=step.name))


def _pad(step: Step) -> None:
    mode = step.attrs.get("mode", "constant")
    pads = step.numbers("pads", 1)
    if pads is None or min(pads) < 0:
        raise step.refuse(f"pads are {pads}, expected numbers of 0 and more")
    rank = len(pads) // 2
    value = float(step.constant(2).reshape(())) if step.has(2) else step.attrs.get("value", 0.0)
    if rank != 4 or any(pads[:2] + pads[4:6]):
        raise step.refuse(f"pads are {pads}; only height and width of images can be padded")
    widths = [width for pair in zip(pads[:rank], pads[rank:]) for width in pair]
    step.returns(sym.Pad(step.symbol(0), mode=mode, pad_width=widths, constant_value=value, name=step.name))


LAYERS: Dict[str, Callable[[Step], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _mat_mul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalMaxPool": _global_pool,
    "GlobalAveragePool": _global_pool,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign"), _activation),
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    **dict.fromkeys(("LeakyRelu", "Elu", "Selu"), _leaky),
    "PRelu": _prelu,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Pad": _pad,
}
