"""An fp32 ONNX file becomes a Symbol that computes what ONNX Runtime does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from onnx import helper, numpy_helper

import mxquant
from mxquant import GraphError
from mxquant.onnx_export.graph import OPERATORS as WRITTEN
from mxquant.onnx_import.reader import OPERATORS
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import forward, images, random_params, sqnr, zoo
from tests.onnx_export.cases import CASES
from tests.onnx_import.models import IMAGE, REGIONS, check, model_of, node, read, real, resized, whole

# Cases of what is written, and refused where it is read, or has an input that nothing reads.
NOT_READ = (
    *(case for case in CASES if case.startswith("_contrib_box_nms") and "topk=0" not in case),
    *("_contrib_MultiBoxDetection", "_contrib_Proposal", "_contrib_MultiProposal"),
    "SoftmaxOutput",
    "SoftmaxOutput of images",
    "_contrib_ROIAlign aligned",
    "slice_like of all axes",
    *("shape_array", "shape_array in arithmetic", "broadcast_like", "broadcast_like of some axes"),
    *("topk k=4, ret_typ=mask, axis=1", "topk k=5, ret_typ=mask, axis=None", "sort of all, the largest first"),
    *("_contrib_arange_like of images", "argsort of whole numbers", "_zeros as many as images"),
)
RNG = np.random.RandomState(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.randn(*shape).astype(np.float32)


# Name: nodes, constants, opset. What an export of MXNet does not write, or in another way.
NETWORKS: Dict[str, Tuple[List[Any], Dict[str, np.ndarray], int]] = {
    "Conv auto_pad upper": (
        [node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": weights(6, 4, 3, 3)},
        13,
    ),
    "Conv auto_pad lower": (
        [node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[2, 2])],
        {"w": weights(6, 4, 3, 3)},
        13,
    ),
    "Conv padded on one side": (
        [node("Conv", "x", "w", pads=[0, 1, 2, 1])],
        {"w": weights(6, 4, 3, 3)},
        13,
    ),
    "MaxPool padded on one side": (
        [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])],
        {},
        13,
    ),
    "MaxPool ceil_mode": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}, 13),
    "AveragePool": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}, 13),
    "Gemm with factors": (
        [node("Flatten", "x", outputs=("f",)), node("Gemm", "f", "w", "b", alpha=0.5, beta=2.0)],
        {"w": weights(360, 5), "b": weights(1)},
        13,
    ),
    "MatMul on the last axis": ([node("MatMul", "x", "w")], {"w": weights(10, 3)}, 13),
    "MatMul of heads": (
        [node("Transpose", "x", outputs=("t",), perm=[0, 1, 3, 2]), node("MatMul", "x", "t")],
        {},
        13,
    ),
    "Clip with attributes": ([node("Clip", "x", min=-0.5, max=0.5)], {}, 7),
    "Clip at one end": ([node("Clip", "x", "low")], {"low": np.float32(0)}, 13),
    "HardSwish": ([node("HardSwish", "x")], {}, 14),
    "Softmax of an older version": (
        [node("Flatten", "x", outputs=("f",)), node("Softmax", "f")],
        {},
        11,
    ),
    "PRelu": ([node("PRelu", "x", "s")], {"s": np.abs(weights(4, 1, 1))}, 13),
    "Pad with attributes": ([node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5)], {}, 10),
    "Resize": (
        [
            node(
                "Resize",
                "x",
                "",
                "s",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        {"s": np.float32([1, 1, 2, 2])},
        13,
    ),
    "Upsample": ([node("Upsample", "x", "s", mode="nearest")], {"s": np.float32([1, 1, 3, 3])}, 9),
    "Add of a number": ([node("Add", "x", "c")], {"c": np.float32(2)}, 13),
    "Sub from a number": ([node("Sub", "c", "x")], {"c": np.float32([2])}, 13),
    "Div of a number": ([node("Exp", "x", outputs=("e",)), node("Div", "c", "e")], {"c": np.float32(2)}, 13),
    "Pow": ([node("Pow", "x", "c")], {"c": np.float32(2)}, 13),
    "Mul of channels": ([node("Mul", "x", "c")], {"c": weights(4, 1, 1)}, 13),
    "Add of a tensor with fewer dimensions": (
        [node("ReduceMean", "x", outputs=("m",), axes=[0, 1, 2], keepdims=0), node("Add", "x", "m")],
        {},
        13,
    ),
    "Split in parts of two sizes": (
        [node("Split", "x", "s", outputs=("a", "b"), axis=1), node("Concat", "b", "a", axis=1)],
        {"s": whole(1, 3)},
        13,
    ),
    "Split with an attribute": (
        [node("Split", "x", outputs=("a", "b"), axis=1, split=[2, 2]), node("Concat", "b", "a", axis=1)],
        {},
        11,
    ),
    "Gather of one place": ([node("Gather", "x", "i", axis=2)], {"i": np.asarray(-1, np.int64)}, 13),
    "Gather of places": ([node("Gather", "x", "i", axis=1)], {"i": whole(3, 1)}, 13),
    "Unsqueeze with an attribute": ([node("Unsqueeze", "x", axes=[0, 3])], {}, 11),
    "Slice with attributes": ([node("Slice", "x", axes=[2], starts=[1], ends=[-1])], {}, 9),
    "Slice of channels of a convolution": (
        [
            node("Conv", "x", "w", outputs=("c",)),
            node("Slice", "c", "s", "e", "a", outputs=("h",)),
            node("Conv", "h", "v"),
        ],
        {
            "w": weights(24, 4, 3, 3),
            "v": weights(8, 12, 1, 1),
            "s": whole(12, -5),
            "e": whole(1 << 40, 9),
            "a": whole(1, 2),
        },
        13,
    ),
    "ReduceMean as exporters write global pooling": ([node("ReduceMean", "x", axes=[-1, -2])], {}, 13),
    "ReduceMean with an input": ([node("ReduceMean", "x", "a", keepdims=0)], {"a": whole(2, 3)}, 18),
    "DepthToSpace": ([node("DepthToSpace", "x", blocksize=2)], {}, 13),
    "LayerNormalization": (
        [node("LayerNormalization", "x", "g", "b", axis=-1)],
        {"g": weights(10), "b": weights(10)},
        17,
    ),
    "Reshape by a computed shape": (
        [
            node("Shape", "x", outputs=("s",)),
            node("Gather", "s", "zero", outputs=("n",), axis=0),
            node("Unsqueeze", "n", "axes", outputs=("u",)),
            node("Concat", "u", "rest", outputs=("all",), axis=0),
            node("Reshape", "x", "all"),
        ],
        {"zero": np.asarray(0, np.int64), "axes": whole(0), "rest": whole(-1)},
        13,
    ),
    "Constant": (
        [
            helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]),
            node("Add", "x", "c"),
        ],
        {},
        13,
    ),
    "Resize of half pixels, to sizes": resized("z", whole(2, 4, 17, 7)),
    "Resize of half pixels, by whole numbers": resized("s", np.float32([1, 1, 3, 2])),
    "Resize of half pixels, by a half": resized("s", np.float32([1, 1, 3, 0.5])),
    "Resize of half pixels as PyTorch has them": resized(
        "z", whole(2, 4, 1, 13), coordinate_transformation_mode="pytorch_half_pixel"
    ),
    "Resize of corners": resized("s", np.float32([1, 1, 1.7, 0.61]), coordinate_transformation_mode="align_corners"),
    "Resize of some axes": resized("z", whole(5, 21), 18, axes=[-2, -1]),
    "Resize of some axes by scales": resized("s", np.float32([2, 3]), 18, axes=[2, 3]),
    **{
        f"Resize to the nearest, {mode}, {rounding}": (
            [node("Resize", "x", "", "s", coordinate_transformation_mode=mode, nearest_mode=rounding)],
            {"s": np.float32([1, 1, factor, factor])},
            13,
        )
        for mode, rounding, factor in (
            ("half_pixel", "round_prefer_floor", 3),
            ("half_pixel", "round_prefer_ceil", 2),
            ("asymmetric", "round_prefer_floor", 2),
            ("align_corners", "ceil", 1),
        )
    },
    "RoiAlign": (
        [node("RoiAlign", "x", "r", "i", output_height=2, output_width=3, sampling_ratio=2, spatial_scale=0.7)],
        REGIONS,
        13,
    ),
    "RoiAlign of a newer version": (
        [node("RoiAlign", "x", "r", "i", output_height=3, coordinate_transformation_mode="output_half_pixel")],
        REGIONS,
        16,
    ),
    **{
        f"{op}, {kind}": (
            real(
                node("Floor", "x", outputs=("f",)),
                node("Mul", "f", "half", outputs=("g",)),
                node(op, *inputs, outputs=("holds",)),
            ),
            {"half": np.float32(0.5), "c": np.float32(-1), "t": np.float32([[-2], [-1], [0], [1]])[:, None]},
            13,
        )
        for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
        for kind, inputs in (
            ("of tensors", ("f", "g")),
            ("to a number", ("f", "c")),
            ("of a number", ("c", "f")),
            ("to channels", ("f", "t")),
        )
        if op == "Less" or kind != "to channels"
    },
    **{
        op: (
            real(
                node("Less", "x", "low", outputs=("a",)),
                node("Greater", "x", "high", outputs=("b",)),
                node(op, "a", "b", outputs=("c",)),
                node("Not", "c", outputs=("d",)),
                node(op, "d", "mask", outputs=("holds",)),
            ),
            {"low": np.float32(1), "high": np.float32(-1), "mask": np.arange(10) % 3 == 0},
            13,
        )
        for op in ("And", "Or", "Xor")
    },
    "Tile": ([node("Tile", "x", "r")], {"r": whole(1, 2, 1, 3)}, 13),
    "Where of three shapes": (
        [
            node("ReduceMean", "x", outputs=("m",), axes=[3]),
            node("ReduceMax", "x", outputs=("l",), axes=[0, 1, 2], keepdims=0),
            node("Greater", "m", "zero", outputs=("c",)),
            node("Where", "c", "l", "t"),
        ],
        {"zero": np.float32(0), "t": weights(4, 1, 1)},
        13,
    ),
    "Where of numbers": (
        [node("Less", "x", "zero", outputs=("c",)), node("Where", "c", "zero", "one")],
        {"zero": np.float32(0), "one": np.float32(1)},
        13,
    ),
    "Where that leaves infinity out": (
        [node("Less", "x", "zero", outputs=("c",)), node("Log", "x", outputs=("l",)), node("Where", "c", "x", "l")],
        {"zero": np.float32(0)},
        13,
    ),
    "Cast to a truth value": (
        [node("Floor", "x", outputs=("f",)), node("Cast", "f", outputs=("c",), to=9), node("Cast", "c", to=1)],
        {},
        13,
    ),
    "Expand to more dimensions": (
        [node("ReduceMean", "x", outputs=("m",), axes=[1]), node("Expand", "m", "s")],
        {"s": whole(3, 1, 4, 9, 10)},
        13,
    ),
    "Expand to fewer dimensions": (
        [node("ReduceMean", "x", outputs=("m",), axes=[3]), node("Expand", "m", "s")],
        {"s": whole(9, 5)},
        13,
    ),
    "masks of constants": (
        [
            node("Equal", "s", "minus", outputs=("open",)),
            node("ConstantOfShape", "two", outputs=("ones",), value=numpy_helper.from_array(whole(1))),
            node("Where", "open", "ones", "s", outputs=("lengths",)),
            node("Expand", "row", "lengths", outputs=("rows",)),
            node("Less", "rows", "two", outputs=("low",)),
            node("Not", "low", outputs=("high",)),
            node("Where", "high", "x", "nothing"),
        ],
        {
            **{"s": whole(-1, 10), "minus": whole(-1), "two": whole(2), "row": np.arange(10)},
            "nothing": np.float32(0.25),
        },
        13,
    ),
    "part of a shape": (
        [
            node("Shape", "x", outputs=("s",), start=1, end=-1),
            node("Cast", "s", outputs=("f",), to=1),
            node("ReduceSum", "f", outputs=("n",)),
            node("Mul", "x", "n"),
        ],
        {},
        15,
    ),
    "ConstantOfShape of a tensor": (
        [
            node("Shape", "x", outputs=("s",)),
            node("ConstantOfShape", "s", outputs=("c",), value=numpy_helper.from_array(np.float32([2.5]))),
            node("Add", "c", "x"),
        ],
        {},
        13,
    ),
    "Dropout, Identity, Cast": (
        [
            node("Dropout", "x", outputs=("d",)),
            node("Identity", "d", outputs=("i",)),
            node("Cast", "i", outputs=("c",), to=1),
            node("Neg", "c"),
        ],
        {},
        13,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_result_is_onnx_runtimes(name: str, tmp_path: Path) -> None:
    nodes, constants, opset = NETWORKS[name]
    check(model_of(nodes, opset=opset, **constants), tmp_path, 2 * images(*IMAGE))


@pytest.mark.parametrize("case", [case for case in CASES if case not in NOT_READ])
def test_what_is_exported_comes_back(case: str, tmp_path: Path) -> None:
    """In operators that can be exported again."""
    shape, build = CASES[case]
    symbol = build(mx.sym.var("data"))
    args, aux = random_params(symbol, data=shape)
    model = mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux)
    model.save(tmp_path / "net.onnx")
    data = 2 * images(*shape)
    network = mxquant.from_onnx(tmp_path / "net.onnx")
    assert {node.op for node in graph_of(network.symbol).operators} <= set(WRITTEN)
    for a, b in zip(forward(*network, data=data), forward(symbol, args, aux, data=data)):
        # Numbers without axes are those of mx.np.
        assert a.shape == (b.shape or (1,))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_every_operator_is_tested(tmp_path: Path) -> None:
    tested = {each.op_type for nodes, _, _ in NETWORKS.values() for each in nodes}
    for shape, build in (CASES[case] for case in CASES if case not in NOT_READ):
        symbol = build(mx.sym.var("data"))
        args, aux = random_params(symbol, data=shape)
        proto = mxquant.export_onnx(symbol, input_shapes=shape, arg_params=args, aux_params=aux).proto
        tested |= {each.op_type for each in proto.graph.node}
    # Reciprocal is one of a dozen functions of one tensor that share a line of code.
    assert set(OPERATORS) - tested <= {"Reciprocal"}


@pytest.mark.parametrize(
    "name",
    ["resnet18_v1", "mobilenetv2_0.25", "squeezenet1.1", pytest.param("densenet121", marks=pytest.mark.slow)],
)
def test_a_network_of_the_zoo_comes_back_and_quantizes_as_well(name: str, tmp_path: Path) -> None:
    symbol, args, aux, data = zoo(name)
    mxquant.export_onnx(symbol, tmp_path / "net.onnx", input_shapes=data.shape, arg_params=args, aux_params=aux)
    network = mxquant.from_onnx(tmp_path / "net.onnx")
    expected = forward(symbol, args, aux, data=data)[0]
    np.testing.assert_allclose(forward(*network, data=data)[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    levels = []
    for net in ((symbol, args, aux), network):
        model = mxquant.quantize(net[0], data, arg_params=net[1], aux_params=net[2], accuracy="fast")
        found = forward(model.symbol, model.arg_params, model.aux_params, data=data)[0]
        levels.append(sqnr(expected, found))
    assert levels[1] > levels[0] - 1


def test_a_residual_addition_can_run_in_int8(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x", "w", outputs=("a",), pads=[1, 1, 1, 1]),
        node("Add", "a", "x", outputs=("s",)),
        node("Relu", "s", outputs=("r",)),
        node("Conv", "r", "w", pads=[1, 1, 1, 1]),
    ]
    network = check(model_of(nodes, ("N", *IMAGE[1:]), w=weights(4, 4, 3, 3)), tmp_path, images(*IMAGE))
    plan = mxquant.make_plan(
        network.symbol,
        mxquant.calibrate(network.symbol, images(*IMAGE), arg_params=network.arg_params),
        arg_params=network.arg_params,
    )
    assert all(layer.precision == "int8" for layer in plan.layers.values())


def test_a_free_length_that_is_computed_with_is_asked_for(tmp_path: Path) -> None:
    nodes, constants, _ = NETWORKS["Reshape by a computed shape"]
    model = model_of(nodes, ("N", 4, "H", "W"), **constants)
    with pytest.raises(GraphError, match="it computes with a shape that is not fixed; give input_shapes"):
        read(model, tmp_path)
    check(model, tmp_path, images(*IMAGE), input_shapes=IMAGE)


def test_the_batch_of_a_resize_a_mask_and_a_filled_tensor_stays_free(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", outputs=("s",)),
        node("ConstantOfShape", "s", outputs=("c",), value=numpy_helper.from_array(np.float32([-3]))),
        node("Expand", "zero", "ones", outputs=("z",)),
        node("Less", "x", "z", outputs=("low",)),
        node("Where", "low", "c", "x", outputs=("w",)),
        node("Resize", "w", "", "scales", mode="linear"),
    ]
    values = {"zero": np.float32([0]), "ones": whole(1, 1, 9, 1), "scales": np.float32([1, 1, 2, 3])}
    check(model_of(nodes, ("N", *IMAGE[1:]), **values), tmp_path, images(5, *IMAGE[1:]))


def test_the_batch_of_a_reshape_stays_free(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "s", outputs=("f",)), node("Neg", "f")]
    network = read(model_of(nodes, (1, 4, 9, 10), s=whole(1, 360)), tmp_path)
    assert forward(*network, x=images(*IMAGE))[0].shape == (2, 360)
