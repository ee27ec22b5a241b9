"""Random layers: products, convolutions, pooling, normalization, resizing, recurrent layers."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from tests.soak.onnx_graphs.arithmetic import broadcast
from tests.soak.onnx_graphs.builder import REAL, Graph

__all__ = ["PIECES"]


def window(graph: Graph, lengths: Tuple[int, ...], dilated: bool) -> Tuple[Tuple[int, ...], Dict[str, Any]]:
    """Return a kernel, and its strides, pads and dilations."""
    rank = len(lengths)
    kernel = tuple(graph.whole(1, min(4, length)) for length in lengths)
    attrs: Dict[str, Any] = {}
    if graph.chance(0.6):
        attrs["strides"] = [graph.whole(1, 3) for _ in kernel]
    if dilated and graph.chance(0.25):
        attrs["dilations"] = [graph.whole(1, 2) for _ in kernel]
    kind = graph.whole(0, 4)
    if kind == 0:
        attrs["auto_pad"] = graph.choose(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif kind in (1, 2):
        attrs["pads"] = [graph.whole(0, size - 1) for size in kernel] * 2
    elif kind == 3 and rank == 2:
        attrs["pads"] = [graph.whole(0, size - 1) for size in (*kernel, *kernel)]
    return kernel, attrs


def convolution(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: 3 <= each.rank <= 5)
    if value is None:
        return None
    kernel, attrs = window(graph, value.shape[2:], True)
    groups = [g for g in (1, 1, 2, value.shape[1]) if value.shape[1] % g == 0]
    group = graph.choose(groups)
    weight = graph.weights(group * graph.whole(1, 3), value.shape[1] // group, *kernel)
    names = [value.name, graph.constant(weight)]
    if graph.chance(0.5):
        names.append(graph.constant(graph.weights(len(weight))))
    made = graph.emit("Conv", names, group=group, **attrs)
    if graph.chance(0.4):
        shape = graph.choose([(len(weight),) + (1,) * len(kernel), (1, len(weight)) + (1,) * len(kernel), (1,), ()])
        names = [made[0].name, graph.constant(graph.weights(*shape))]
        made = graph.emit(graph.choose(["Add", "Mul"]), names[::-1] if graph.chance(0.5) else names)
    return made


def transposed_convolution(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: 3 <= each.rank <= 4)
    if value is None:
        return None
    rank = value.rank - 2
    kernel = [graph.whole(1, 3) for _ in range(rank)]
    strides = [graph.whole(1, 2) for _ in kernel]
    attrs: Dict[str, Any] = {"strides": strides}
    if graph.chance(0.5):
        attrs["pads"] = [graph.whole(0, (size - 1) // 2) for size in kernel] * 2
    if graph.chance(0.4):
        attrs["output_padding"] = [graph.whole(0, stride - 1) for stride in strides]
    group = graph.choose([g for g in (1, 1, 2) if value.shape[1] % g == 0])
    weight = graph.weights(value.shape[1], graph.whole(1, 3), *kernel)
    names = [value.name, graph.constant(weight)]
    if graph.chance(0.5):
        names.append(graph.constant(graph.weights(weight.shape[1] * group)))
    return graph.emit("ConvTranspose", names, group=group, **attrs)


def pooling(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: 3 <= each.rank <= 5)
    if value is None:
        return None
    kernel, attrs = window(graph, value.shape[2:], False)
    op = graph.choose(["MaxPool", "AveragePool"])
    if graph.opset >= 10 and graph.chance(0.5) and "auto_pad" not in attrs:
        attrs["ceil_mode"] = 1
    if op == "AveragePool" and graph.chance(0.5):
        attrs["count_include_pad"] = 1
    return graph.emit(op, [value.name], exact=value.exact and op == "MaxPool", kernel_shape=kernel, **attrs)


def global_pooling(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: 3 <= each.rank <= 5)
    return value and graph.emit(graph.choose(["GlobalMaxPool", "GlobalAveragePool"]), [value.name])


def gemm(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank == 2)
    if value is None:
        return None
    attrs: Dict[str, Any] = {"transB": graph.whole(0, 1), "transA": int(graph.chance(0.3))}
    if graph.chance(0.5):
        attrs.update(alpha=0.5, beta=float(graph.choose([1, 2, -0.25])))
    rows, inner = value.shape[::-1] if attrs["transA"] else value.shape
    units = graph.choose([rows, 2, 5])
    weight = graph.weights(*((units, inner) if attrs["transB"] else (inner, units)))
    names = [value.name, graph.constant(weight)]
    if graph.opset < 11 or graph.chance(0.7):
        names.append(
            graph.constant(graph.weights(*graph.choose([(units,), (1, units), (rows, 1), (rows, units), (1,), ()])))
        )
    return graph.emit("Gemm", names, **attrs)


def product(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank > 0)
    if value is None:
        return None
    inner = value.shape[-1]
    kind = graph.whole(0, 3)
    if kind == 0:
        shape: Tuple[int, ...] = (inner, graph.whole(1, 4))
    elif kind == 1 and value.rank > 2:
        shape = (*broadcast(graph, value.shape[:-2]), inner, 3)
    elif kind == 2 and value.rank > 1:
        order = [*range(value.rank - 2), value.rank - 1, value.rank - 2]
        other = graph.emit("Transpose", [value.name], perm=order)[0]
        return graph.emit("MatMul", [value.name, other.name])
    elif value.rank > 1:
        left = graph.weights(*graph.choose([(2, value.shape[-2]), (3, 2, value.shape[-2])]))
        return graph.emit("MatMul", [graph.constant(left), value.name])
    else:
        shape = (inner,)
    return graph.emit("MatMul", [value.name, graph.constant(graph.weights(*shape))])


def normalization(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: 2 <= each.rank <= 5)
    if value is None:
        return None
    channels = value.shape[1]
    gamma, beta, mean = (graph.weights(channels) for _ in range(3))
    variance = np.abs(graph.weights(channels)) + np.float32(0.5)
    op = graph.choose(
        ["BatchNormalization", "BatchNormalization", "InstanceNormalization", "LRN", "LayerNormalization"]
    )
    if op == "BatchNormalization":
        names = [graph.constant(each) for each in (gamma, beta, mean, variance)]
        return graph.emit(op, [value.name, *names], epsilon=float(graph.choose([1e-5, 1e-3])))
    if op == "InstanceNormalization" and value.rank > 2:
        return graph.emit(op, [value.name, *(graph.constant(each) for each in (gamma, beta))])
    if op == "LRN" and value.rank == 4:
        return graph.emit(op, [value.name], size=graph.choose([1, 3, 5, 2]), alpha=0.1, beta=0.5, bias=2.0)
    if op == "LayerNormalization" and graph.opset >= 17:
        names = [graph.constant(graph.weights(value.shape[-1])) for _ in range(graph.whole(1, 2))]
        return graph.emit(op, [value.name, *names], axis=graph.choose([-1, value.rank - 1]), epsilon=1e-3)
    return None


def softmax(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank > 0)
    if value is None:
        return None
    axis = graph.axis(graph.whole(0, value.rank - 1), value.rank)
    return graph.emit(
        graph.choose(["Softmax", "LogSoftmax"]), [value.name], **({"axis": axis} if graph.chance(0.7) else {})
    )


def padding(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank == 4)
    if value is None:
        return None
    mode = graph.choose(["constant", "constant", "edge", "reflect"])
    most = min(value.shape[2:]) - 1 if mode == "reflect" else 3
    pads = [0, 0, graph.whole(0, most), graph.whole(0, most), 0, 0, graph.whole(0, most), graph.whole(0, most)]
    if graph.opset < 11:
        return graph.emit("Pad", [value.name], exact=value.exact, pads=pads, mode=mode)
    names = [value.name, graph.constant(np.asarray(pads, np.int64))]
    if graph.opset >= 18 and graph.chance(0.4):
        names = [
            value.name,
            graph.constant(np.int64([pads[3], pads[2], pads[7], pads[6]])),
            "",
            graph.constant(np.int64([-1, 2])),
        ]
    elif mode == "constant" and graph.chance(0.5):
        names.append(graph.constant(np.float32(graph.choose([0, 1.5]))))
    return graph.emit("Pad", names, exact=value.exact, mode=mode)


def resizing(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank == 4)
    if value is None or graph.opset < 9:
        return None
    mode = graph.choose(["nearest", "linear"])
    factors = [graph.whole(1, 3)] * 2 if mode == "nearest" else [graph.choose([0.5, 1, 2, 3]) for _ in range(2)]
    scales = graph.constant(np.float32([1, 1, *factors]))
    if graph.opset < 11:
        return graph.emit("Upsample" if graph.opset < 10 else "Resize", [value.name, scales], mode=mode)
    attrs: Dict[str, Any] = {"mode": mode}
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    if graph.chance(0.8):
        attrs["coordinate_transformation_mode"] = graph.choose(modes)
    if mode == "nearest" and graph.chance(0.6):
        attrs["nearest_mode"] = graph.choose(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    roi = graph.constant(np.float32([])) if graph.opset < 13 else ""
    if graph.chance(0.3):
        sizes = [*value.shape[:2], *(graph.whole(1, 9) for _ in range(2))]
        empty = graph.constant(np.float32([])) if graph.opset < 13 else ""
        return graph.emit("Resize", [value.name, roi, empty, graph.constant(np.int64(sizes))], **attrs)
    return graph.emit("Resize", [value.name, roi, scales], **attrs)


def blocks(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank == 4)
    if value is None:
        return None
    op = graph.choose(["DepthToSpace", "SpaceToDepth"])
    attrs = (
        {"mode": graph.choose(["DCR", "CRD"])}
        if op == "DepthToSpace" and graph.opset >= 11 and graph.chance(0.4)
        else {}
    )
    if (op == "DepthToSpace" and value.shape[1] % 4) or (op == "SpaceToDepth" and any(n % 2 for n in value.shape[2:])):
        return None
    return graph.emit(op, [value.name], exact=value.exact, blocksize=2, **attrs)


def recurrent(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank == 3)
    if value is None:
        return None
    op, units = graph.choose(["LSTM", "GRU", "RNN"]), graph.whole(1, 4)
    direction = graph.choose(["forward", "reverse", "bidirectional"])
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if direction == "bidirectional" else 1
    names = [value.name, graph.constant(graph.weights(ways, gates * units, value.shape[2]))]
    names.append(graph.constant(graph.weights(ways, gates * units, units)))
    attrs: Dict[str, Any] = {"hidden_size": units, "direction": direction}
    if op == "GRU":
        attrs["linear_before_reset"] = 1
    if graph.chance(0.6):
        names.append(graph.constant(graph.weights(ways, 2 * gates * units)))
    return graph.emit(op, names, outputs=graph.whole(1, 2), **attrs)


def regions(graph: Graph) -> Optional[Any]:
    value = graph.value(REAL, lambda each: each.rank == 4 and min(each.shape[2:]) > 3)
    if value is None or graph.opset < 10:
        return None
    boxes = np.float32([[0, 0, 3, 2], [0.5, 1, 2.5, 3]])
    images = graph.rng.randint(0, value.shape[0], 2).astype(np.int64)
    attrs = {"coordinate_transformation_mode": "output_half_pixel"} if graph.opset >= 16 else {}
    names = [value.name, graph.constant(boxes), graph.constant(images)]
    return graph.emit("RoiAlign", names, output_height=2, output_width=2, sampling_ratio=graph.whole(0, 2), **attrs)


def dropout(graph: Graph) -> Optional[Any]:
    value = graph.value()
    return value and graph.emit("Dropout", [value.name], exact=value.exact)


PIECES: List[Callable[[Graph], Optional[Any]]] = [
    *(convolution, convolution, convolution, transposed_convolution, pooling, pooling, pooling, global_pooling, gemm),
    *(gemm, product, product, normalization, normalization, softmax, padding, resizing, resizing, blocks, recurrent),
    *(regions, dropout),
]
