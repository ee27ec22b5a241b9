"""Translations of layers: convolutions, pooling, normalisation, activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from mxquant.graph import Node
from mxquant.graph.attributes import read_bool, read_float, read_int, read_tuple
from mxquant.onnx_export.sequences import softmax_with_length
from mxquant.onnx_export.writer import Call

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAYERS", "convolution_attributes", "counts_padding", "fully_connected", "without_zero_edges"]


def convolution_attributes(call: Call) -> Dict[str, object]:
    """Return the attributes that ONNX's Conv and ConvTranspose have in common."""
    node = call.node
    kernel = read_tuple(node, "kernel")
    layout = node.attrs.get("layout", "None")
    if layout not in ("None", "NCW", "NCHW", "NCDHW"):
        raise call.refuse(f"layout is {layout}; ONNX is channel-first")
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    pad = read_tuple(node, "pad", zeros) or zeros
    return {
        "kernel_shape": kernel,
        "strides": read_tuple(node, "stride", ones) or ones,
        "dilations": read_tuple(node, "dilate", ones) or ones,
        "pads": [*pad, *pad],
        "group": read_int(node, "num_group", 1),
    }


def without_zero_edges(
    weight: NDArray[Any], pads: Sequence[int], dilations: Sequence[int]
) -> Tuple[NDArray[Any], List[int]]:
    """Take rows and columns of zeros from the front of a kernel, and as much from the padding there.

    They are how MXNet, which pads both sides alike, computes a padding of one side alone.

    Parameters
    ----------
    weight : numpy.ndarray
        Shape (O, C, ...).
    pads, dilations : sequence of int
        As ONNX has them: the front of every axis, then the back.

    Returns
    -------
    tuple
        The smaller weight and pads.
    """
    pads = list(pads)
    for axis, dilation in enumerate(dilations):
        while weight.shape[axis + 2] > 1 and pads[axis] >= dilation and not weight.take(0, axis + 2).any():
            weight = np.delete(weight, 0, axis + 2)
            pads[axis] -= dilation
    return weight, pads


def _convolution(call: Call) -> None:
    attrs = convolution_attributes(call)
    weight = call.value(1)
    if weight is not None:
        smaller, pads = without_zero_edges(weight, attrs["pads"], attrs["dilations"])  # type: ignore[arg-type]
        if smaller.shape != weight.shape:
            call.inputs[1] = call.constant("weight", smaller)
            attrs = {**attrs, "pads": pads, "kernel_shape": smaller.shape[2:]}
    call.emit("Conv", call.inputs, **attrs)


def _deconvolution(call: Call) -> None:
    attrs = convolution_attributes(call)
    if read_tuple(call.node, "target_shape"):
        raise call.refuse("target_shape is set; give pad and adj instead")
    adjust = read_tuple(call.node, "adj")
    inputs = call.inputs[:2] if read_bool(call.node, "no_bias", True) else call.inputs
    call.emit("ConvTranspose", inputs, **attrs, **({"output_padding": adjust} if any(adjust) else {}))


def fully_connected(call: Call, data: str, weight: str, bias: List[str]) -> None:
    """Write a FullyConnected; the weight has shape (O, K), or (K, O) where the data are not flattened."""
    if read_bool(call.node, "flatten", True):
        call.emit("Gemm", [data, weight, *bias], transB=1)
        return
    product = call.step("MatMul", [data, weight], "product") if bias else call.emit("MatMul", [data, weight])
    if bias:
        call.emit("Add", [product, *bias])


def _fully_connected(call: Call) -> None:
    data, weight, *bias = call.inputs
    if read_bool(call.node, "flatten", True):
        data = data if call.rank == 2 else call.step("Flatten", [data], "flat")
    else:
        weight = call.step("Transpose", [weight], "transposed", perm=[1, 0])
    fully_connected(call, data, weight, [] if read_bool(call.node, "no_bias", False) else bias)


def counts_padding(node: Node) -> bool:
    """Whether an operator is an average pooling that counts zeros which it puts around its data."""
    average = node.op == "Pooling" and node.attrs.get("pool_type", "max") == "avg"
    padded = any(read_tuple(node, "pad")) and not read_bool(node, "global_pool", False)
    return average and padded and read_bool(node, "count_include_pad", True)


def _pooling(call: Call) -> None:
    node = call.node
    kind = {"max": "MaxPool", "avg": "AveragePool"}.get(node.attrs.get("pool_type", "max"))
    if kind is None:
        raise call.refuse(f"pool_type is {node.attrs['pool_type']}, expected max or avg")
    if node.attrs.get("layout", "None") not in ("None", "NCW", "NCHW", "NCDHW"):
        raise call.refuse(f"layout is {node.attrs['layout']}; ONNX is channel-first")
    if read_bool(node, "global_pool", False):
        call.emit(f"Global{kind}", call.inputs)
        return
    kernel = read_tuple(node, "kernel")
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    stride, pad = read_tuple(node, "stride", ones) or ones, read_tuple(node, "pad", zeros) or zeros
    counted = read_bool(node, "count_include_pad", True)
    front, back = list(pad), list(pad)
    convention = node.attrs.get("pooling_convention", "valid")
    for axis, size in enumerate(call.shapes[0][2:]):
        if convention == "full":
            # Written as padding, since runtimes disagree on ceil_mode.
            back[axis] += -(size + 2 * pad[axis] - kernel[axis]) % stride[axis]
        elif convention == "same":
            total = max(0, (-(-size // stride[axis]) - 1) * stride[axis] + kernel[axis] - size)
            front[axis], back[axis] = total // 2, total - total // 2
    if kind == "AveragePool" and counted and (front != list(pad) or back != list(pad)):
        raise call.refuse(f"average pooling with pooling_convention='{convention}' does not fill whole windows here")
    if any(each >= length for pads in (front, back) for each, length in zip(pads, kernel)):
        raise call.refuse(f"windows of {kernel} may lie in its padding as a whole, which ONNX runtimes refuse")
    extra = {"count_include_pad": int(counted)} if kind == "AveragePool" else {}
    call.emit(kind, call.inputs, kernel_shape=kernel, strides=stride, pads=[*front, *back], **extra)


def _batch_norm(call: Call) -> None:
    if read_int(call.node, "axis", 1) != 1:
        raise call.refuse(f"axis is {call.node.attrs['axis']}, expected 1")
    data, gamma, *rest = call.inputs
    value = call.value(1)
    if read_bool(call.node, "fix_gamma", True):
        if value is None:
            raise call.refuse("gamma is fixed, but has no value")
        gamma = call.constant("gamma", np.ones_like(value))
    call.emit("BatchNormalization", [data, gamma, *rest], epsilon=read_float(call.node, "eps", 1e-3))


def _layer_norm(call: Call) -> None:
    if call.axis(read_int(call.node, "axis", -1)) != call.rank - 1:
        raise call.refuse(f"axis is {call.node.attrs['axis']}, expected the last")
    data, gamma, beta = call.inputs
    axes = [call.rank - 1]
    centred = call.step("Sub", [data, call.step("ReduceMean", [data], "mean", axes=axes)], "centred")
    variance = call.step("ReduceMean", [call.step("Mul", [centred, centred], "square")], "variance", axes=axes)
    eps = call.constant("eps", read_float(call.node, "eps", 1e-5))
    deviation = call.step("Sqrt", [call.step("Add", [variance, eps], "raised")], "deviation")
    scaled = call.step("Mul", [call.step("Div", [centred, deviation], "normal"), gamma], "scaled")
    call.emit("Add", [scaled, beta])


def _instance_norm(call: Call) -> None:
    call.emit("InstanceNormalization", call.inputs, epsilon=read_float(call.node, "eps", 1e-3))


def _lrn(call: Call) -> None:
    node = call.node
    size = read_int(node, "nsize", 0)
    alpha, beta, knorm = (read_float(node, key, d) for key, d in (("alpha", 1e-4), ("beta", 0.75), ("knorm", 2.0)))
    call.emit("LRN", call.inputs, alpha=alpha, beta=beta, bias=knorm, size=size)


def _l2_normalization(call: Call) -> None:
    mode = call.node.attrs.get("mode", "instance")
    axes = {"instance": list(range(1, call.rank)), "channel": [1], "spatial": list(range(2, call.rank))}[mode]
    square = call.step("Mul", [call.inputs[0]] * 2, "square")
    total = call.step("ReduceSum", [square, call.constant("axes", axes, np.int64)], "total")
    raised = call.step("Add", [total, call.constant("eps", read_float(call.node, "eps", 1e-10))], "raised")
    call.emit("Div", [call.inputs[0], call.step("Sqrt", [raised], "norm")])


_ACTIVATIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softrelu": "Softplus",
    "softsign": "Softsign",
}


def _activation(call: Call) -> None:
    kind = call.node.attrs["act_type"]
    if kind not in _ACTIVATIONS:
        raise call.refuse(f"act_type is {kind}, expected one of {', '.join(_ACTIVATIONS)}")
    call.emit(_ACTIVATIONS[kind], call.inputs)


def _leaky_relu(call: Call) -> None:
    kind = call.node.attrs.get("act_type", "leaky")
    slope = read_float(call.node, "slope", 0.25)
    if kind == "prelu":
        data, gamma = call.inputs
        value = call.value(1)
        if value is not None:
            shape = (value.size,) + (1,) * (call.rank - 2) if call.rank > 2 or value.size == 1 else value.shape
            gamma = call.constant("slope", value.reshape(shape))
        call.emit("PRelu", [data, gamma])
    elif kind in ("leaky", "rrelu"):
        if kind == "rrelu":
            low, high = (read_float(call.node, key, d) for key, d in (("lower_bound", 0.125), ("upper_bound", 0.334)))
            slope = (low + high) / 2
        call.emit("LeakyRelu", call.inputs, alpha=slope)
    elif kind == "elu":
        call.emit("Elu", call.inputs, alpha=slope)
    elif kind == "selu":
        call.emit("Selu", call.inputs)
    elif kind == "gelu":
        (data,) = call.inputs
        root = call.step("Mul", [data, call.constant("root", np.sqrt(0.5))], "scaled")
        gate = call.step("Add", [call.step("Erf", [root], "erf"), call.constant("one", 1.0)], "gate")
        call.emit("Mul", [call.step("Mul", [data, call.constant("half", 0.5)], "halved"), gate])
    else:
        raise call.refuse(f"act_type is {kind}, expected leaky, rrelu, prelu, elu, selu or gelu")


def _clip(call: Call) -> None:
    limits = [call.constant(key, float(call.node.attrs[key]), call.dtype) for key in ("a_min", "a_max")]
    call.emit("Clip", [call.inputs[0], *limits])


def _hard_sigmoid(call: Call) -> None:
    alpha, beta = (read_float(call.node, key, default) for key, default in (("alpha", 0.2), ("beta", 0.5)))
    call.emit("HardSigmoid", call.inputs, alpha=alpha, beta=beta)


def _softmax(call: Call) -> None:
    op = {"log_softmax": "LogSoftmax"}.get(call.node.op, "Softmax")
    if read_float(call.node, "temperature", 1.0) != 1.0:
        raise call.refuse("temperature has no counterpart in ONNX")
    if read_bool(call.node, "use_length", False):
        softmax_with_length(call)
        return
    call.emit(op, call.inputs[:1], axis=call.axis(read_int(call.node, "axis", -1)))


def _softmax_output(call: Call) -> None:
    preserved = read_bool(call.node, "preserve_shape", False)
    if not read_bool(call.node, "multi_output", False) and not preserved and call.rank > 2:
        raise call.refuse("it flattens its input; only two dimensions are supported")
    call.emit("Softmax", call.inputs[:1], axis=call.rank - 1 if preserved else 1)


def _softmax_activation(call: Call) -> None:
    if call.node.attrs.get("mode", "instance") != "channel" and call.rank > 2:
        raise call.refuse("it flattens its input; only two dimensions are supported")
    call.emit("Softmax", call.inputs, axis=1)


def _pad(call: Call) -> None:
    mode = call.node.attrs.get("mode", "constant")
    widths = read_tuple(call.node, "pad_width")
    pads = call.constant("pads", [*widths[::2], *widths[1::2]], np.int64)
    if mode == "constant":
        call.emit("Pad", [call.inputs[0], pads, call.constant("value", read_float(call.node, "constant_value", 0.0))])
    else:
        call.emit("Pad", [call.inputs[0], pads], mode=mode)


def _up_sampling(call: Call) -> None:
    if call.node.attrs.get("sample_type") != "nearest" or len(call.inputs) != 1:
        raise call.refuse("only nearest up-sampling of one input is supported")
    scale = float(read_int(call.node, "scale", 1))
    scales = call.constant("scales", [1.0, 1.0, scale, scale])
    call.emit(
        *("Resize", [call.inputs[0], "", scales]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


LAYERS: Dict[str, Callable[[Call], None]] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "FullyConnected": _fully_connected,
    "Pooling": _pooling,
    "BatchNorm": _batch_norm,
    "LayerNorm": _layer_norm,
    "InstanceNorm": _instance_norm,
    "LRN": _lrn,
    "L2Normalization": _l2_normalization,
    "Activation": _activation,
    "LeakyReLU": _leaky_relu,
    "clip": _clip,
    "hard_sigmoid": _hard_sigmoid,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "SoftmaxOutput": _softmax_output,
    "SoftmaxActivation": _softmax_activation,
    "Pad": _pad,
    "pad": _pad,
    "UpSampling": _up_sampling,
}
