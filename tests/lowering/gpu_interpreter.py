"""MXNet's int8 operators for GPUs, in whole numbers on the CPU: what their kernels do, and what they refuse.

Written from the sources of MXNet 1.9.1 (``src/operator/quantization/``: the ``.cu`` files and their headers), apart
from mxquant: the range of int8 ends at the code 127, halves are rounded away from 0, sums are int32 that went through
float32, and no kernel takes uint8. What kernels compute in float32 is float32 here. Operators on float32 are MXNet's.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

import numpy as np

from mxquant.graph import Graph, Node, Tensor
from mxquant.graph.attributes import read_bool, read_int, read_tuple
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, graph_of, symbol_of

F = np.float32
Array = np.ndarray


def run_as_gpu(symbol: Any, params: Mapping[str, Any], **inputs: Array) -> List[Array]:
    """Return the outputs of an int8 network for GPUs, with parameters and inputs by name."""
    graph = graph_of(symbol)
    values: Dict[Tensor, Array] = {}
    internals = symbol.get_internals()
    known = {name: value.shape for name, value in {**params, **inputs}.items() if name in symbol.list_inputs()}
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape_partial(**known)[1]))
    for node in graph.nodes:
        if node.is_variable:
            given = inputs[node.name] if node.name in inputs else params[node.name].asnumpy()
            values[node.output] = np.asarray(given)
            continue
        if node.op == "_zeros":
            values[node.output] = np.zeros(shapes[f"{node.name}_output"], F)
            continue
        read = [values[tensor] for tensor in node.inputs]
        kernel = KERNELS.get(node.op)
        whole = any(value.dtype != np.float32 for value in read)
        made = kernel(node, *read) if kernel and (whole or node.op in ON_FLOAT32) else in_float32(node, read)
        values.update({Tensor(node, index): value for index, value in enumerate(made)})
    return [values[tensor] for tensor in graph.outputs]


def in_float32(node: Node, read: List[Array]) -> List[Array]:
    """Compute one operator by MXNet, on float32 alone."""
    wrong = [value.dtype for value in read if value.dtype != np.float32]
    assert not wrong, f"{node.name} ({node.op}) has no kernel for {wrong[0]}"
    variables = [Node("null", f"input{slot}") for slot in range(len(read))]
    twin = Node(node.op, node.name, dict(node.attrs), [each.output for each in variables], node.num_outputs)
    symbol = symbol_of(Graph([*variables, twin], [Tensor(twin, index) for index in range(node.num_outputs)]))
    given = {f"input{slot}": mx.nd.array(value) for slot, value in enumerate(read)}
    aux = {name: given.pop(name) for name in symbol.list_auxiliary_states()}
    with environment(MXNET_SUBGRAPH_BACKEND="NONE"):
        executor = symbol.bind(mx.cpu(), given, aux_states=aux, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def largest(*ends: Array) -> Any:
    return F(max(abs(F(end.item())) for end in ends))


def to_int8(values: Array, end: Any) -> Array:
    scale = F(127) / end
    return (np.sign(values) * np.trunc(np.minimum(np.abs(values) * scale + F(0.5), F(127)))).astype(np.int8)


def int8_only(node: Node, *values: Array) -> None:
    for value in values:
        assert value.dtype == np.int8, f"{node.name}: {value.dtype} instead of int8"


def symmetric(end: Any) -> Tuple[Array, Array]:
    return np.array([-end], F), np.array([end], F)


def calibrated(node: Node) -> Any:
    assert node.attrs["out_type"] == "int8", f"{node.name}: out_type {node.attrs['out_type']} is refused on a GPU"
    return max(abs(F(node.attrs["min_calib_range"])), abs(F(node.attrs["max_calib_range"])))


def quantize(node: Node, values: Array) -> List[Array]:
    assert values.dtype == np.float32
    end = calibrated(node)
    return [to_int8(values, end), *symmetric(end)]


def requantize(node: Node, sums: Array, low: Array, high: Array) -> List[Array]:
    assert sums.dtype == np.int32
    end = calibrated(node)
    real = sums.astype(F) * (largest(low, high) / F(2**31))
    return [to_int8(real, end), *symmetric(end)]


def dequantize(node: Node, codes: Array, low: Array, high: Array) -> List[Array]:
    int8_only(node, codes)
    return [codes.astype(F) * (largest(low, high) / F(127))]


def product_range(ends: Tuple[Array, ...]) -> Tuple[Array, Array]:
    one = (largest(*ends[:2]) / F(127)) * (largest(*ends[2:]) / F(127))
    return symmetric(one * F(2**31))


def convolution(node: Node, data: Array, weight: Array, *ends: Array) -> List[Array]:
    int8_only(node, data, weight)
    assert read_bool(node, "no_bias", False) and len(ends) == 4
    assert data.ndim == 4 and read_int(node, "num_group", 1) == 1 and len(read_tuple(node, "kernel")) == 2
    assert set(read_tuple(node, "dilate")) <= {1} and node.attrs.get("layout", "None") in ("None", "NCHW")
    assert data.shape[1] % 4 == 0 and weight.shape[0] % 4 == 0, f"{node.name}: {data.shape} by {weight.shape}"
    attrs = {key: read_tuple(node, key) for key in ("kernel", "stride", "pad") if key in node.attrs}
    given = [mx.nd.array(value, dtype="float64") for value in (data, weight)]
    exact = mx.nd.Convolution(*given, num_filter=len(weight), no_bias=True, **attrs).asnumpy()
    assert np.abs(exact).max() < 2**31
    # cuDNN's sums are float32 here, which MXNet casts to int32.
    return [exact.astype(F).astype(np.int32), *product_range(ends)]


def fully_connected(node: Node, data: Array, weight: Array, *ends: Array) -> List[Array]:
    int8_only(node, data, weight)
    assert read_bool(node, "no_bias", False) and read_bool(node, "flatten", True) and len(ends) == 4
    assert weight.shape[0] % 4 == 0 and weight.shape[1] % 4 == 0
    exact = data.reshape(len(data), -1).astype(np.int64) @ weight.astype(np.int64).T
    assert np.abs(exact).max() < 2**31
    return [exact.astype(np.int32), *product_range(ends)]


def pooling(node: Node, codes: Array, low: Array, high: Array) -> List[Array]:
    int8_only(node, codes)
    assert codes.ndim == 4 and len(read_tuple(node, "kernel")) == 2
    plain = Node("Pooling", node.name, dict(node.attrs), node.inputs)
    return [in_float32(plain, [codes.astype(F)])[0].astype(np.int8), low, high]


def flatten(node: Node, codes: Array, low: Array, high: Array) -> List[Array]:
    int8_only(node, codes)
    return [codes.reshape(len(codes), -1), low, high]


def add_int32(node: Node, sums: Array, bias: Array) -> List[Array]:
    assert sums.dtype == bias.dtype == np.int32
    exact = sums.astype(np.int64) + bias
    assert np.abs(exact).max() < 2**31, f"{node.name}: int32 overflows"
    return [exact.astype(np.int32)]


def relu_int8(node: Node, codes: Array) -> List[Array]:
    int8_only(node, codes)
    return [np.maximum(codes, np.int8(0))]


def cast(node: Node, sums: Array) -> List[Array]:
    assert sums.dtype == np.int32 and node.attrs["dtype"] == "float32"
    return [sums.astype(F)]


# Those that read float32, and those that are for whole numbers.
ON_FLOAT32 = ("_contrib_quantize_v2",)
KERNELS: Dict[str, Callable[..., List[Array]]] = {
    "_contrib_quantize_v2": quantize,
    "_contrib_requantize": requantize,
    "_contrib_dequantize": dequantize,
    "_contrib_quantized_conv": convolution,
    "_contrib_quantized_fully_connected": fully_connected,
    "_contrib_quantized_pooling": pooling,
    "_contrib_quantized_flatten": flatten,
    "broadcast_add": add_int32,
    "relu": relu_int8,
    "Cast": cast,
}
