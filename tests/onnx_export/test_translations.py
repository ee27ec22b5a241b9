"""Every operator that can be translated computes in ONNX Runtime what it computes in MXNet."""

from __future__ import annotations

import operator
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import LoweringError
from mxquant.onnx_export.arithmetic import ARITHMETIC
from mxquant.onnx_export.choices import CHOICES
from mxquant.onnx_export.detection import DETECTION
from mxquant.onnx_export.graph import OPERATORS
from mxquant.onnx_export.layers import LAYERS
from mxquant.onnx_export.multibox import MULTIBOX
from mxquant.onnx_export.proposals import PROPOSALS
from mxquant.onnx_export.recurrent import RECURRENT
from mxquant.onnx_export.sampling import SAMPLING
from mxquant.onnx_export.sequences import SEQUENCES
from mxquant.onnx_export.tensors import TENSORS
from mxquant.runtime.mxnet import mx
from tests.networks import forward, images, random_params
from tests.onnx_export.runtimes import in_onnxruntime

sym = mx.sym
IMAGE, ROW, CUBE = (2, 4, 9, 10), (3, 7), (2, 4, 5, 6, 7)
Build = Callable[[Any], Any]

SENTENCE = (3, 4, 24)
COMPARISONS: Dict[str, Callable[[Any, Any], Any]] = {
    **{"lesser": operator.lt, "greater": operator.gt, "lesser_equal": operator.le, "greater_equal": operator.ge},
    **{"equal": operator.eq, "not_equal": operator.ne},
}


def _lengths(numbers: Any, most: int) -> Any:
    """Return whole numbers from 0 to `most` - 1."""
    return sym.floor(sym.sigmoid(numbers) * most)


def _resized(**options: Any) -> Build:
    return lambda x: sym.contrib.BilinearResize2D(x, **options)


def _rows_of_regions(x: Any) -> Any:
    """Return regions of any size, some of which lie beyond the edges, each of one of the two images."""
    rows = sym.reshape(sym.slice_axis(sym.tanh(x), axis=0, begin=0, end=1), shape=(-1, 5))
    image = sym.slice_axis(rows, axis=1, begin=0, end=1) > 0
    corner = sym.slice_axis(rows, axis=1, begin=1, end=3) * 25 + 12
    sizes = sym.abs(sym.slice_axis(rows, axis=1, begin=3, end=5)) * 40 + 0.1
    return sym.concat(image, corner, corner + sizes, dim=1)


def _regions(x: Any, **options: Any) -> Any:
    return sym.contrib.ROIAlign(x, _rows_of_regions(x), **{"spatial_scale": 0.4, "pooled_size": (3, 2), **options})


def _whole(x: Any) -> Any:
    return sym.cast(x * 4, "int32")


def _area_of(x: Any) -> Any:
    return sym.prod(sym.slice_axis(sym.shape_array(x), axis=0, begin=2, end=None), keepdims=True)


def _all_outputs(symbol: Any) -> Any:
    return sym.Group(list(symbol))


ROWS = (2, 60, 7)


def _boxes(x: Any, **options: Any) -> Any:
    """Suppress boxes of any place and size, some without area, of which some have equal scores."""
    x = sym.tanh(x)
    kind = sym.floor(sym.slice_axis(x, axis=2, begin=0, end=1) * 2)
    score = sym.floor(sym.slice_axis(x, axis=2, begin=1, end=2) * 8) / 8
    corner = sym.slice_axis(x, axis=2, begin=2, end=4) * 10
    size = sym.slice_axis(x, axis=2, begin=4, end=6) * 6 + 4
    rows = sym.concat(kind, score, corner, corner + size, sym.slice_axis(x, axis=2, begin=6, end=7), dim=2)
    return sym.contrib.box_nms(rows, **options)


def _decoded(x: Any, **options: Any) -> Any:
    """Return boxes by offsets and anchors that are computed of the same data."""
    offsets = sym.slice_axis(x, axis=2, begin=0, end=4)
    anchors = sym.abs(sym.slice(x, begin=(0, 0, 3), end=(1, None, 7)))
    return sym.contrib.box_decode(offsets, anchors, **options)


def _detected(x: Any, **options: Any) -> Any:
    """Return boxes of three classes at one anchor for each place of a map of four channels."""
    scores = sym.softmax(sym.reshape(x, (0, 4, -1)), axis=1)
    anchors = sym.contrib.MultiBoxPrior(x, sizes=(0.3,))
    return sym.contrib.MultiBoxDetection(scores, sym.Flatten(x), anchors, **options)


PLACES = (1, 24, 5, 6)


def _proposed(x: Any, name: str) -> Any:
    """Return regions of an image by scores and offsets of three anchors for each place."""
    sizes = sym.broadcast_add(sym.ones(shape=(1, 3)) * 80, sym.zeros(shape=(1, 1)))
    options = {"scales": (2,), "rpn_pre_nms_top_n": 50, "rpn_post_nms_top_n": 20, "rpn_min_size": 4}
    scores = sym.slice_axis(x, axis=1, begin=0, end=6)
    return getattr(sym.contrib, name)(scores, sym.slice_axis(x, axis=1, begin=12, end=24) / 4, sizes, **options)


def _recurrent(x: Any, mode: str, layers: int = 1, both: bool = False, states: bool = False) -> Any:
    """Return what a recurrent layer of five units makes, and its last states."""
    zeros = [sym.zeros(shape=(layers * (1 + both), 0, 5)) for _ in range(2 if mode == "lstm" else 1)]
    options = {"state_size": 5, "num_layers": layers, "mode": mode, "bidirectional": both, "state_outputs": states}
    found = sym.RNN(x, sym.var("parameters") * 4, *zeros, **options)
    return _all_outputs(found) if states else found


def _across(x: Any) -> Tuple[Any, Any]:
    """Return attention from short queries to keys, and the keys with their values."""
    pairs = sym.transpose(x, (1, 0, 2))
    queries = sym.slice(pairs, begin=(0, None, 0), end=(3, None, 12))
    return sym.contrib.interleaved_matmul_encdec_qk(queries, pairs, heads=2), pairs


# Name of the case: shape of the data, and the network; the operator is the name up to the first blank.
CASES: Dict[str, Tuple[Tuple[int, ...], Build]] = {
    "Convolution": (IMAGE, lambda x: sym.Convolution(x, num_filter=6, kernel=(3, 3))),
    "Convolution grouped, strided, dilated, no bias": (
        IMAGE,
        lambda x: sym.Convolution(
            x, num_filter=6, kernel=(3, 2), stride=(2, 1), dilate=(2, 1), pad=(2, 1), num_group=2, no_bias=True
        ),
    ),
    "Convolution 1D": ((2, 4, 9), lambda x: sym.Convolution(x, num_filter=6, kernel=(3,), pad=(1,))),
    "Convolution 3D": (CUBE, lambda x: sym.Convolution(x, num_filter=6, kernel=(3, 3, 3), pad=(1, 0, 1))),
    "Deconvolution": (
        IMAGE,
        lambda x: sym.Deconvolution(x, num_filter=6, kernel=(3, 3), stride=(2, 2), pad=(1, 1), adj=(1, 0)),
    ),
    "Deconvolution of many channels": (
        (2, 128, 3, 4),
        lambda x: sym.Deconvolution(x, num_filter=6, kernel=(4, 4), stride=(2, 2), pad=(1, 1)),
    ),
    "Deconvolution grouped, with bias": (
        IMAGE,
        lambda x: sym.Deconvolution(x, num_filter=6, kernel=(4, 4), stride=(2, 2), num_group=2, no_bias=False),
    ),
    "FullyConnected": (ROW, lambda x: sym.FullyConnected(x, num_hidden=5)),
    "FullyConnected of images": (IMAGE, lambda x: sym.FullyConnected(x, num_hidden=5)),
    "FullyConnected not flattened": ((2, 3, 7), lambda x: sym.FullyConnected(x, num_hidden=5, flatten=False)),
    "FullyConnected not flattened, no bias": (
        (2, 3, 7),
        lambda x: sym.FullyConnected(x, num_hidden=5, flatten=False, no_bias=True),
    ),
    "Pooling max": (IMAGE, lambda x: sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")),
    "Pooling max full": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"),
    ),
    "Pooling max full, padded": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(2, 3), stride=(3, 2), pad=(1, 1), pooling_convention="full"),
    ),
    "Pooling avg": (IMAGE, lambda x: sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg")),
    "Pooling avg, padding not counted": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg", count_include_pad=False),
    ),
    "Pooling avg full, whole windows": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(3, 2), stride=(2, 2), pool_type="avg", pooling_convention="full"),
    ),
    "Pooling global avg": (IMAGE, lambda x: sym.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")),
    "Pooling global max": (IMAGE, lambda x: sym.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="max")),
    "BatchNorm": (IMAGE, lambda x: sym.BatchNorm(sym.relu(x), fix_gamma=False, eps=1e-2)),
    "BatchNorm with fixed gamma": (IMAGE, lambda x: sym.BatchNorm(sym.relu(x), fix_gamma=True)),
    "LayerNorm": (ROW, lambda x: sym.LayerNorm(x)),
    "InstanceNorm": (IMAGE, lambda x: sym.InstanceNorm(x, sym.var("gamma"), sym.var("beta"))),
    "LRN": (IMAGE, lambda x: sym.LRN(x, nsize=3, alpha=0.1)),
    "L2Normalization": (IMAGE, lambda x: sym.L2Normalization(x)),
    "L2Normalization of channels": (IMAGE, lambda x: sym.L2Normalization(x, mode="channel")),
    **{
        f"Activation {kind}": (IMAGE, lambda x, kind=kind: sym.Activation(x, act_type=kind))
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"LeakyReLU {kind}": (IMAGE, lambda x, kind=kind: sym.LeakyReLU(x, act_type=kind, slope=0.3))
        for kind in ("leaky", "elu", "selu", "gelu")
    },
    "LeakyReLU rrelu": (IMAGE, lambda x: sym.LeakyReLU(x, act_type="rrelu")[0]),
    "LeakyReLU prelu": (IMAGE, lambda x: sym.LeakyReLU(x, sym.var("gamma"), act_type="prelu")),
    "clip": (IMAGE, lambda x: sym.clip(x, -0.3, 0.7)),
    "hard_sigmoid": (IMAGE, lambda x: sym.hard_sigmoid(x)),
    "softmax": (IMAGE, lambda x: sym.softmax(x, axis=1)),
    "log_softmax": (ROW, lambda x: sym.log_softmax(x)),
    "SoftmaxOutput": (ROW, lambda x: sym.SoftmaxOutput(x, name="softmax")),
    "SoftmaxOutput of images": (IMAGE, lambda x: sym.SoftmaxOutput(x, multi_output=True, name="softmax")),
    "SoftmaxActivation": (IMAGE, lambda x: sym.SoftmaxActivation(x, mode="channel")),
    "Pad": (
        IMAGE,
        lambda x: sym.Pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 2, 3, 0), constant_value=0.5),
    ),
    "Pad of reflections": (IMAGE, lambda x: sym.Pad(x, mode="reflect", pad_width=(0, 0, 0, 0, 1, 2, 3, 0))),
    "UpSampling": (IMAGE, lambda x: sym.UpSampling(x, scale=2, sample_type="nearest")),
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("relu", "sigmoid", "tanh", "softsign")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("exp", "abs", "negative", "floor", "ceil")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(sym.abs(x) + 1)) for op in ("log", "sqrt")},
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x)) for op in ("square", "erf")},
    "_plus_scalar": (IMAGE, lambda x: x + 2),
    "_minus_scalar": (IMAGE, lambda x: x - 2),
    "_rminus_scalar": (IMAGE, lambda x: 2 - x),
    "_mul_scalar": (IMAGE, lambda x: x * 3),
    "_div_scalar": (IMAGE, lambda x: x / 3),
    "_rdiv_scalar": (IMAGE, lambda x: 3 / (sym.abs(x) + 1)),
    "_power_scalar": (IMAGE, lambda x: x**2),
    "_maximum_scalar": (IMAGE, lambda x: sym.maximum(x, 0.1)),
    "_minimum_scalar": (IMAGE, lambda x: sym.minimum(x, 0.1)),
    "elemwise_add": (IMAGE, lambda x: x + sym.exp(x)),
    "elemwise_sub": (IMAGE, lambda x: x - sym.exp(x)),
    "elemwise_mul": (IMAGE, lambda x: x * sym.exp(x)),
    "elemwise_div": (IMAGE, lambda x: x / sym.exp(x)),
    **{
        f"broadcast_{op}": (
            IMAGE,
            lambda x, op=op: getattr(sym, f"broadcast_{op}")(x, sym.exp(sym.mean(x, axis=(2, 3), keepdims=True))),
        )
        for op in ("add", "sub", "mul", "div", "maximum", "minimum")
    },
    "_maximum": (IMAGE, lambda x: sym.maximum(x, sym.relu(x) - 0.5)),
    "_minimum": (IMAGE, lambda x: sym.minimum(x, sym.relu(x) - 0.5)),
    "add_n": (IMAGE, lambda x: sym.add_n(x, sym.relu(x), sym.tanh(x))),
    "Concat": (IMAGE, lambda x: sym.concat(x, sym.relu(x), dim=2)),
    "Concat of the last axis": (IMAGE, lambda x: sym.concat(x, sym.relu(x), dim=-1)),
    "Flatten": (IMAGE, lambda x: sym.Flatten(x)),
    "Reshape": (IMAGE, lambda x: sym.reshape(x, shape=(0, 2, -1))),
    "transpose": (IMAGE, lambda x: sym.transpose(x, axes=(0, 2, 3, 1))),
    "transpose of all": (IMAGE, lambda x: sym.transpose(x)),
    "SwapAxis": (IMAGE, lambda x: sym.swapaxes(x, 1, 3)),
    "expand_dims": (IMAGE, lambda x: sym.expand_dims(x, axis=-1)),
    "squeeze": (IMAGE, lambda x: sym.squeeze(sym.mean(x, axis=1, keepdims=True), axis=1)),
    "SliceChannel": (IMAGE, lambda x: sym.Group(list(sym.SliceChannel(x, num_outputs=2)))),
    "SliceChannel that drops the axis": (
        IMAGE,
        lambda x: sym.Group(list(sym.SliceChannel(x, num_outputs=9, axis=2, squeeze_axis=True))),
    ),
    "depth_to_space": ((2, 12, 3, 5), lambda x: sym.depth_to_space(x, block_size=2)),
    "space_to_depth": ((2, 3, 4, 6), lambda x: sym.space_to_depth(x, block_size=2)),
    "slice_axis": (IMAGE, lambda x: sym.slice_axis(x, axis=-1, begin=2, end=-1)),
    "slice_axis to the end": (IMAGE, lambda x: sym.slice_axis(x, axis=2, begin=2, end=None)),
    "slice": (IMAGE, lambda x: sym.slice(x, begin=(None, 1, 0, 1), end=(None, 3, -1, None), step=(1, 1, 2, 3))),
    "slice backwards": (IMAGE, lambda x: sym.slice(x, (None, -1, 7, None), (None, 0, None, 2), (1, -1, -3, -2))),
    "reverse": (IMAGE, lambda x: sym.reverse(x, axis=(1, 3))),
    "shape_array": (IMAGE, lambda x: sym.shape_array(x)),
    "shape_array in arithmetic": (
        *(IMAGE, lambda x: sym.broadcast_mul(x, sym.cast(_area_of(x) * 3 - 1 > 268, "float32"))),
    ),
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(sym.abs(x) + 1)) for op in ("log2", "log10")},
    "prod": (IMAGE, lambda x: sym.prod(x, axis=1, keepdims=True)),
    "broadcast_mod": (IMAGE, lambda x: sym.broadcast_mod(x * 9, sym.floor(sym.slice_axis(x, axis=1, begin=0, end=1)))),
    "broadcast_mod of whole numbers": (
        *(IMAGE, lambda x: sym.broadcast_mod(_whole(x), _whole(sym.slice_axis(x, axis=3, begin=0, end=1)))),
    ),
    **{
        f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x))
        for op in ("sign", "reciprocal", "sin", "cos", "logical_not")
    },
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x * 2.5)) for op in ("trunc", "fix")},
    "round": (IMAGE, lambda x: sym.round(sym.floor(x * 6) / 2)),
    "rsqrt": (IMAGE, lambda x: sym.rsqrt(sym.abs(x) + 0.1)),
    "broadcast_power": (IMAGE, lambda x: sym.broadcast_power(sym.abs(x), sym.mean(x, axis=1, keepdims=True))),
    "_power": (IMAGE, lambda x: sym.abs(x) ** x),
    "_rpower_scalar": (IMAGE, lambda x: 2**x),
    **{
        f"broadcast_logical_{op}": (
            IMAGE,
            lambda x, op=op: getattr(sym, f"broadcast_logical_{op}")(x > 0.2, sym.floor(x)),
        )
        for op in ("and", "or", "xor")
    },
    **{
        f"_logical_{op}_scalar": (
            IMAGE,
            lambda x, op=op: getattr(sym._internal, f"_logical_{op}_scalar")(sym.floor(x), scalar=1.0),
        )
        for op in ("and", "or", "xor")
    },
    "clip of whole numbers": (IMAGE, lambda x: sym.clip(_whole(x), -2, 3)),
    "reshape_like": (IMAGE, lambda x: sym.reshape_like(sym.relu(x), sym.transpose(x, (0, 3, 2, 1)))),
    "reshape_like of some axes": (
        IMAGE,
        lambda x: sym.reshape_like(sym.reshape(x, (0, 0, -1)), x, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4),
    ),
    "broadcast_to": (IMAGE, lambda x: sym.broadcast_to(sym.mean(x, axis=(1, 3), keepdims=True), shape=(0, 4, 0, 2))),
    "_mod": (IMAGE, lambda x: x * 9 % sym.floor(x)),
    "_mod_scalar": (IMAGE, lambda x: x * 9 % -2.5),
    "_mod_scalar of whole numbers": (IMAGE, lambda x: _whole(x) % 4),
    "_mod_scalar by nothing": (IMAGE, lambda x: x % 0),
    "slice_like": (
        IMAGE,
        lambda x: sym.slice_like(x, sym.slice(x, begin=(0, 1, 2, 3), end=(2, 4, 9, 7)), axes=(2, -1)),
    ),
    "slice_like of all axes": (
        IMAGE,
        lambda x: sym.slice_like(sym.concat(x, x, dim=0), sym.slice_axis(x, axis=3, begin=2, end=6)),
    ),
    "tile": (IMAGE, lambda x: sym.tile(x, reps=(2, 1, 3))),
    "tile to more dimensions": (ROW, lambda x: sym.tile(x, reps=(2, 1, 3))),
    "repeat": (IMAGE, lambda x: sym.repeat(x, repeats=3, axis=-2)),
    "repeat of images": (IMAGE, lambda x: sym.repeat(x, repeats=2, axis=0)),
    "repeat of all": (ROW, lambda x: sym.repeat(x, repeats=2)),
    "_arange": (ROW, lambda x: sym.broadcast_add(x, sym.reshape(sym.arange(1, 4.5, step=0.5), shape=(1, -1)))),
    "_arange to a number": (ROW, lambda x: sym.broadcast_add(x, sym.reshape(sym.arange(7), shape=(1, -1)))),
    "_arange of a length that is inferred": (
        ROW,
        lambda x: sym.broadcast_add(
            x, sym.reshape(sym.elemwise_add(sym.arange(7, 14), sym.arange(3, infer_range=True)), shape=(1, -1))
        ),
    ),
    "_arange of whole numbers": (
        ROW,
        lambda x: sym.cast(
            sym.reshape(sym.arange(7, dtype="int32"), (1, -1))
            + sym.cast(sym.slice_axis(x, axis=0, begin=0, end=1), "int32"),
            "float32",
        ),
    ),
    "_arange with repetition": (
        ROW,
        lambda x: sym.broadcast_add(x, sym.reshape(sym.arange(0, 3, repeat=3), shape=(1, -1)).slice_axis(1, 2, None)),
    ),
    "mean": (IMAGE, lambda x: sym.mean(x, axis=(2, 3))),
    "mean excluding axes": (IMAGE, lambda x: sym.mean(x, axis=(0, 1), exclude=True, keepdims=True)),
    "sum": (IMAGE, lambda x: sym.sum(x, axis=-1)),
    "max": (IMAGE, lambda x: sym.max(x, axis=1)),
    "min": (IMAGE, lambda x: sym.min(x, axis=1)),
    "Embedding": (ROW, lambda x: sym.Embedding(sym.abs(x), input_dim=20, output_dim=4)),
    "dot": (ROW, lambda x: sym.dot(x, sym.exp(x), transpose_b=True)),
    "batch_dot": ((2, 3, 7), lambda x: sym.batch_dot(x, sym.exp(x), transpose_a=True)),
    "BlockGrad": (IMAGE, lambda x: sym.BlockGrad(x) + 1),
    "Dropout": (IMAGE, lambda x: sym.Dropout(x) + 1),
    "softmax with lengths": (
        (3, 5, 6),
        lambda x: sym.softmax(x, length=sym.cast(_lengths(sym.sum(x, axis=2), 7), "int32"), use_length=True, axis=-1),
    ),
    "Reshape that joins": (IMAGE, lambda x: sym.reshape(x, shape=(-3, -2))),
    "Reshape that splits": (IMAGE, lambda x: sym.reshape(x, shape=(0, -4, 2, -1, 0, 0))),
    "Reshape from the right": (IMAGE, lambda x: sym.reshape(x, shape=(-1, 2, 0), reverse=True)),
    "_contrib_interleaved_matmul_selfatt_qk": (
        *(SENTENCE, lambda x: sym.contrib.interleaved_matmul_selfatt_qk(sym.transpose(x, (1, 0, 2)), heads=2)),
    ),
    "_contrib_interleaved_matmul_selfatt_valatt": (
        SENTENCE,
        lambda x: sym.contrib.interleaved_matmul_selfatt_valatt(
            sym.transpose(x, (1, 0, 2)),
            sym.contrib.interleaved_matmul_selfatt_qk(sym.transpose(x, (1, 0, 2)), heads=2),
            heads=2,
        ),
    ),
    "_contrib_interleaved_matmul_encdec_qk": (SENTENCE, lambda x: _across(x)[0]),
    "_contrib_interleaved_matmul_encdec_valatt": (
        SENTENCE,
        lambda x: sym.contrib.interleaved_matmul_encdec_valatt(*_across(x)[::-1], heads=2),
    ),
    "_contrib_div_sqrt_dim": (ROW, lambda x: sym.contrib.div_sqrt_dim(x)),
    "_contrib_arange_like": (
        ROW,
        lambda x: sym.broadcast_add(x, sym.expand_dims(sym.contrib.arange_like(x, start=2, step=0.5, axis=1), axis=0)),
    ),
    **{
        f"broadcast_{op}": (IMAGE, lambda x, op=op: getattr(sym, f"broadcast_{op}")(x, sym.floor(x) * 0.5))
        for op in COMPARISONS
    },
    **{f"_{op}_scalar": (IMAGE, lambda x, op=op: COMPARISONS[op](sym.floor(x), 1)) for op in COMPARISONS},
    "where": (IMAGE, lambda x: sym.where(x > 0.2, x, sym.exp(x))),
    "zeros_like": (IMAGE, lambda x: sym.zeros_like(x)),
    "ones_like": (IMAGE, lambda x: sym.ones_like(x) * x),
    "broadcast_like": (IMAGE, lambda x: sym.broadcast_like(sym.mean(x, axis=(1, 3), keepdims=True), x)),
    "broadcast_like of some axes": (
        IMAGE,
        lambda x: sym.broadcast_like(
            sym.mean(x, axis=(0, 2), keepdims=True), sym.transpose(x), lhs_axes=(0, -2), rhs_axes=(3, 1)
        ),
    ),
    **{
        f"topk {', '.join(f'{key}={value}' for key, value in options.items())}": (
            IMAGE,
            lambda x, options=options: _all_outputs(sym.topk(x, **options)),
        )
        for options in (
            {"k": 3},
            {"k": 3, "ret_typ": "value", "axis": 1},
            {"k": 2, "ret_typ": "both", "is_ascend": True, "axis": 2, "dtype": "int32"},
            {"k": 4, "ret_typ": "mask", "axis": 1},
            {"k": 5, "ret_typ": "mask", "axis": None},
            {"k": 700, "ret_typ": "both", "axis": None},
            {"k": 0, "axis": -2},
        )
    },
    "topk of many": ((2, 6000), lambda x: _all_outputs(sym.topk(x, k=5000, ret_typ="both"))),
    "sort": (IMAGE, lambda x: sym.sort(x, axis=1)),
    "sort of all, the largest first": (IMAGE, lambda x: sym.sort(x, axis=None, is_ascend=False)),
    "argsort": (IMAGE, lambda x: sym.argsort(x)),
    "argsort of whole numbers": (IMAGE, lambda x: sym.argsort(x, axis=0, is_ascend=False, dtype="int32")),
    **{
        f"{op} {', '.join(f'{key}={value}' for key, value in options.items())}": (
            IMAGE,
            lambda x, op=op, options=options: getattr(sym, op)(x, **options),
        )
        for op in ("argmax", "argmin")
        for options in ({"axis": 1}, {"axis": -1, "keepdims": True}, {}, {"keepdims": True})
    },
    "argmax_channel": ((3, 7, 2), lambda x: sym.argmax_channel(x)),
    "gather_nd": (
        IMAGE,
        lambda x: sym.gather_nd(
            x, sym.stack(*(sym.argmax(sym.slice_axis(x, axis=2, begin=i, end=i + 1), axis=3) % 2 for i in (0, 1, 2)))
        ),
    ),
    "take": (IMAGE, lambda x: sym.take(x, sym.floor(sym.slice(x, (0, 0, 0, 0), (1, 2, 3, 4)) * 3), axis=2)),
    "take around": (
        *(IMAGE, lambda x: sym.take(x, sym.floor(sym.slice_axis(x, axis=3, begin=0, end=1) * 9), axis=-1, mode="wrap")),
    ),
    "where that chooses rows": (ROW, lambda x: sym.where(sym.mean(x, axis=1) > 0, x, x + 1)),
    "_contrib_arange_like of images": (
        *(ROW, lambda x: sym.broadcast_mul(x, sym.expand_dims(sym.contrib.arange_like(x, 2, 0.5, axis=0), axis=1))),
    ),
    "_plus_scalar to whole numbers": (IMAGE, lambda x: _whole(x) + 2.5),
    "_greater_scalar of whole numbers": (IMAGE, lambda x: _whole(x) > 1),
    "broadcast_equal of whole numbers": (IMAGE, lambda x: sym.broadcast_equal(_whole(x), _whole(x * x))),
    "zeros_like of whole numbers": (IMAGE, lambda x: sym.concat(sym.zeros_like(_whole(x)), _whole(x))),
    "broadcast_axis": (IMAGE, lambda x: sym.broadcast_axis(sym.mean(x, axis=(1, 3), keepdims=True), (1, 3), (4, 2))),
    "Cast": (ROW, lambda x: sym.cast(sym.cast(x * 9, dtype="int32"), dtype="float32")),
    "stack": (IMAGE, lambda x: sym.stack(x, sym.relu(x), axis=-2)),
    "SequenceMask": (
        SENTENCE,
        lambda x: sym.SequenceMask(
            sym.transpose(x, (1, 0, 2)), _lengths(sym.sum(x, axis=(1, 2)), 5), use_sequence_length=True, value=0.5
        ),
    ),
    "SequenceMask of axis 1": (
        SENTENCE,
        lambda x: sym.SequenceMask(x, _lengths(sym.sum(x, axis=(1, 2)), 5), use_sequence_length=True, axis=1),
    ),
    "SequenceMask of images": (
        IMAGE,
        lambda x: sym.SequenceMask(x, _lengths(sym.sum(x, axis=(1, 2, 3)), 5), use_sequence_length=True, axis=1),
    ),
    "SequenceMask without lengths": (SENTENCE, lambda x: sym.SequenceMask(x) * 2),
    **{
        f"_contrib_BilinearResize2D {height} x {width}{', corners apart' if not aligned else ''}": (
            IMAGE,
            _resized(height=height, width=width, align_corners=aligned),
        )
        for height, width in ((17, 23), (5, 7), (9, 10), (30, 1))
        for aligned in (True, False)
    },
    "_contrib_BilinearResize2D by scales": (IMAGE, _resized(scale_height=1.7, scale_width=0.61)),
    "_contrib_BilinearResize2D by scales, corners apart": (
        IMAGE,
        _resized(scale_height=1.7, scale_width=2.3, align_corners=False),
    ),
    "_contrib_BilinearResize2D odd_scale": (IMAGE, _resized(mode="odd_scale", scale_height=2, scale_width=0.5)),
    **{
        f"_contrib_BilinearResize2D {mode}": (IMAGE, _resized(mode=mode))
        for mode in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up")
    },
    "_contrib_BilinearResize2D like": (
        IMAGE,
        lambda x: sym.contrib.BilinearResize2D(sym.Pooling(x, kernel=(3, 3), stride=(2, 2)), x, mode="like"),
    ),
    "_contrib_BilinearResize2D of one pixel": (
        IMAGE,
        lambda x: sym.contrib.BilinearResize2D(sym.mean(x, axis=(2, 3), keepdims=True), height=4, width=7),
    ),
    **{
        f"_contrib_AdaptiveAvgPooling2D {size}": (
            IMAGE,
            lambda x, size=size: sym.contrib.AdaptiveAvgPooling2D(x, output_size=size),
        )
        for size in (3, (3, 5), (12, 7))
    },
    "_contrib_AdaptiveAvgPooling2D": (IMAGE, lambda x: sym.contrib.AdaptiveAvgPooling2D(x)),
    "_contrib_ROIAlign": (IMAGE, _regions),
    "_contrib_ROIAlign of few samples": (IMAGE, lambda x: _regions(x, sample_ratio=2)),
    "_contrib_ROIAlign of large maps": (IMAGE, lambda x: _regions(x, spatial_scale=0.05)),
    "_contrib_ROIAlign aligned": (IMAGE, lambda x: _regions(x, aligned=True)),
    "ROIPooling": (IMAGE, lambda x: sym.ROIPooling(x, _rows_of_regions(x), pooled_size=(3, 2), spatial_scale=0.4)),
    "ROIPooling of large maps": (
        *(IMAGE, lambda x: sym.ROIPooling(x, _rows_of_regions(x), pooled_size=(2, 2), spatial_scale=0.05)),
    ),
    "_contrib_box_decode": (ROWS, lambda x: _decoded(x, std0=0.1, std1=0.2, std2=0.3, std3=0.4)),
    "_contrib_box_decode of corners": (ROWS, lambda x: _decoded(x, format="corner", clip=0.5)),
    **{
        f"_contrib_box_nms {', '.join(f'{key}={value}' for key, value in options.items())}": (
            ROWS,
            lambda x, options=options: _boxes(x, **options),
        )
        for options in (
            {},
            {"id_index": 0, "topk": 20, "overlap_thresh": 0.3},
            {"topk": 0},
        )
    },
    **{f"_contrib_{name}": (PLACES, lambda x, name=name: _proposed(x, name)) for name in ("Proposal", "MultiProposal")},
    **{
        f"RNN {mode}, {layers} layers{', both ways' if both else ''}{', with states' if states else ''}": (
            (7, 2, 4),
            lambda x, options=(mode, layers, both, states): _recurrent(x, *options),
        )
        for mode in ("lstm", "gru", "rnn_tanh", "rnn_relu")
        for layers, both, states in ((1, False, False), (1, True, True), (2, False, True), (3, True, False))
    },
    "_zeros": (ROW, lambda x: sym.concat(x, sym.zeros(shape=(3, 2)), dim=1)),
    "_zeros as many as images": (IMAGE, lambda x: sym.relu(x) + sym.zeros(shape=(0, 4, 9, 10))),
    "_ones": (ROW, lambda x: sym.broadcast_add(x, sym.ones(shape=(1, 7)))),
    "_contrib_MultiBoxPrior": (
        IMAGE,
        lambda x: sym.broadcast_mul(
            sym.contrib.MultiBoxPrior(x, sizes=(0.2, 0.4), ratios=(1, 2)), sym.reshape(sym.mean(x), (1, 1, 1))
        ),
    ),
    "_contrib_MultiBoxDetection": (IMAGE, lambda x: _detected(x, nms_topk=30, threshold=0.3)),
}
# Operators of mx.np that keep their names: the same, by the function that makes them.
NUMPY: Dict[str, Tuple[Tuple[int, ...], Build]] = {
    "_npi_add": (IMAGE, lambda x: x + sym.np.mean(x, axis=(2, 3), keepdims=True)),
    "_npi_add with fewer dimensions": (IMAGE, lambda x: x + sym.np.mean(x, axis=(0, 1))),
    "_npi_subtract": (IMAGE, lambda x: x - sym.np.exp(x)),
    "_npi_multiply": (IMAGE, lambda x: x * sym.np.exp(x)),
    "_npi_true_divide": (IMAGE, lambda x: x / sym.np.exp(x)),
    "_npi_matmul": (IMAGE, lambda x: sym.np.matmul(x, sym.np.swapaxes(x, 2, 3))),
    **{f"_npi_{op}": (IMAGE, lambda x, op=op: getattr(sym.np, op)(x)) for op in ("exp", "tanh", "absolute", "square")},
    "_npi_sqrt": (IMAGE, lambda x: sym.np.sqrt(sym.np.exp(x))),
    "_npi_add_scalar": (IMAGE, lambda x: x + 2),
    "_npi_subtract_scalar": (IMAGE, lambda x: x - 2),
    "_npi_rsubtract_scalar": (IMAGE, lambda x: 2 - x),
    "_npi_multiply_scalar": (IMAGE, lambda x: x * 3),
    "_npi_true_divide_scalar": (IMAGE, lambda x: x / 3),
    "_npi_rtrue_divide_scalar": (IMAGE, lambda x: 3 / sym.np.exp(x)),
    "_npi_power_scalar": (IMAGE, lambda x: x**2),
    "_npi_mean": (IMAGE, lambda x: sym.np.mean(x, axis=(2, 3))),
    "_np_sum": (IMAGE, lambda x: sym.np.sum(x, axis=-1, keepdims=True)),
    "_np_max": (IMAGE, lambda x: sym.np.max(x, axis=1)),
    "_np_min": (IMAGE, lambda x: sym.np.min(x, axis=1)),
    "_np_squeeze": (IMAGE, lambda x: sym.np.squeeze(sym.np.mean(x, axis=1, keepdims=True), axis=1)),
    "_np_reshape": (IMAGE, lambda x: sym.np.reshape(x, (-1, 40, 9))),
    "_npx_reshape": (IMAGE, lambda x: sym.npx.reshape(x, (-2, -5, -2))),
    "_np_transpose": (IMAGE, lambda x: sym.np.transpose(x, (0, 2, 3, 1))),
    "Concat of mx.np": (IMAGE, lambda x: sym.np.concatenate([x, sym.npx.relu(x), sym.npx.sigmoid(x)], axis=-1)),
}
CASES.update({name: (shape, lambda x, f=f: f(x.as_np_ndarray()).as_nd_ndarray()) for name, (shape, f) in NUMPY.items()})
# Other names of operators that have a case, and names that MXNet gives only in old files.
ALIASES = {
    *("_plus", "_Plus", "broadcast_plus", "_minus", "broadcast_minus", "_mul", "_div", "ElementWiseSum", "concat"),
    *("flatten", "reshape", "pad", "identity", "_copy", "cast"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_mxnets(case: str) -> None:
    shape, build = CASES[case]
    symbol = build(sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    labels = {name: np.zeros(args.pop(name).shape, np.float32) for name in list(args) if name.endswith("label")}
    model = mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux)
    data = 2 * images(*shape)
    expected = forward(symbol, args, aux, data=data, **labels)
    for optimized in (False, True):
        found = in_onnxruntime(model.proto, optimized, data=data)
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_every_translation_has_a_case() -> None:
    assert set(OPERATORS) == {case.split(" ")[0] for case in CASES} | ALIASES
    tables = (LAYERS, TENSORS, ARITHMETIC, SEQUENCES, CHOICES, SAMPLING, DETECTION, MULTIBOX, PROPOSALS, RECURRENT)
    assert sum(map(len, tables)) == len(OPERATORS)


@pytest.mark.parametrize(
    "name", sorted({"elemwise_add", "relu", "Pooling max", "Convolution", "FullyConnected of images"})
)
def test_the_batch_is_free(name: str) -> None:
    shape, build = CASES[name]
    symbol = build(sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    proto = mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux).proto
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    data = images(5, *shape[1:])
    np.testing.assert_allclose(
        in_onnxruntime(proto, data=data)[0], forward(symbol, args, aux, data=data)[0], rtol=1e-4, atol=1e-5
    )


def test_operators_without_translation_are_all_named_before_anything_is_written(tmp_path: Any) -> None:
    x = sym.var("data")
    symbol = sym.arccosh(sym.cbrt(x, name="root"), name="odd")
    with pytest.raises(
        LoweringError, match=r"no translation to ONNX for arccosh \(layer 'odd'\), cbrt \(layer 'root'\)"
    ):
        mxquant.export_onnx(symbol, tmp_path / "net.onnx", input_shapes=ROW)
    assert not list(tmp_path.iterdir())


REFUSED: Dict[str, Tuple[Tuple[int, ...], Build]] = {
    "pool_type is sum": (IMAGE, lambda x: sym.Pooling(x, kernel=(2, 2), pool_type="sum")),
    "does not fill whole windows": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(2, 3), stride=(2, 2), pool_type="avg", pooling_convention="full"),
    ),
    "may lie in its padding as a whole": (
        IMAGE,
        lambda x: sym.Pooling(x, kernel=(1, 3), stride=(3, 3), pad=(0, 1), pool_type="max", pooling_convention="full"),
    ),
    "output 1 has no translation": (IMAGE, lambda x: sym.LeakyReLU(x, act_type="rrelu")),
    "two lengths of its result grow with the batch": (
        *((3, 2, 12), lambda x: sym.contrib.interleaved_matmul_selfatt_qk(x, heads=2)),
    ),
    "only numbers along one axis": (ROW, lambda x: sym.contrib.arange_like(x)),
    "dtype is float16": (ROW, lambda x: sym.cast(x, dtype="float16")),
    "expected the last one where use_length is set": (
        *(SENTENCE, lambda x: sym.softmax(x, length=sym.cast(sym.sum(x, axis=1), "int32"), use_length=True, axis=1)),
    ),
    "temperature": (IMAGE, lambda x: sym.softmax(x, temperature=2.0)),
    "formats corner and center": (ROWS, lambda x: _boxes(x, out_format="center")),
    "its data have 2 dimensions": (ROW, lambda x: sym.contrib.box_nms(x)),
    "it compares 65537 boxes": ((1, 65537, 7), lambda x: _boxes(x)),
    "mode is raise": (ROW, lambda x: sym.take(x, sym.slice_axis(x, axis=0, begin=0, end=1), mode="raise")),
    "its anchors have the shape": (*((1, 2, 7, 4), lambda x: sym.contrib.box_decode(sym.reshape(x, (1, 14, 4)), x)),),
    "position_sensitive is set": (IMAGE, lambda x: _regions(x, pooled_size=(2, 2), position_sensitive=True)),
    "only nearest": (
        IMAGE,
        lambda x: sym.UpSampling(x, sym.var("w"), scale=2, sample_type="bilinear", num_filter=4),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_onnx_cannot_say_is_refused(message: str) -> None:
    shape, build = REFUSED[message]
    symbol = build(sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    with pytest.raises(LoweringError, match=message):
        mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux)
