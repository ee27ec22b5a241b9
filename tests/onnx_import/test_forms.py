"""Forms of ONNX's operators that MXNet has otherwise: the value is ONNX Runtime's in each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import mxquant
from mxquant import GraphError
from mxquant.onnx_import import inference, layers, reader
from mxquant.onnx_import.windows import last_window
from mxquant.runtime.mxnet import mx
from tests.networks import forward, images
from tests.onnx_export.runtimes import in_onnxruntime
from tests.onnx_import.models import IMAGE, check, model_of, node, read, whole

# Up to 1.24 ONNX Runtime has some of this otherwise than ONNX, and Python 3.10 has no later one; 1.32 has it right.
BEFORE = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 32)
in_later_ones = pytest.mark.skipif(BEFORE, reason="ONNX Runtime before 1.32 may have it otherwise than ONNX")
REAL, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
Case = Tuple[List[Any], Tuple[int, ...], int, Dict[str, np.ndarray]]


def case(*nodes: Any, shape: Tuple[int, ...] = (2, 4, 6), opset: int = 13, **constants: Any) -> Case:
    return list(nodes), shape, opset, {name: np.asarray(value) for name, value in constants.items()}


def numbers(*shape: int) -> np.ndarray:
    return np.random.RandomState(3).randn(*shape).astype(np.float32)


def from_whole(*nodes: Any, to: int = INT32) -> List[Any]:
    """Return nodes from the whole numbers 'i' to those in 'd', around which the network is real."""
    return [node("Cast", "x", outputs=("i",), to=to), *nodes, node("Cast", "d", to=REAL)]


FORMS: Dict[str, Case] = {
    "places from the end": case(node("Gather", "x", "i", axis=1), i=whole(2, 0, -1, -4)),
    "places from the end of a free length": case(node("Gather", "x", "i", axis=0), i=whole(-1, 0)),
    "places of two axes": case(node("Gather", "x", "i", axis=-1), i=whole(-1, 0, 5, -6).reshape(2, 2)),
    **{
        f"computed places of a table of {len(shape)} dimensions": case(
            *(node("Cast", "x", outputs=("i",), to=INT64), node("Gather", "t", "i", axis=0)),
            t=numbers(*shape),
        )
        for shape in ((7,), (7, 3), (9, 2, 2))
    },
    "a computed place without axes": case(
        node("ReduceMin", "x", outputs=("m",), keepdims=0),
        *(node("Cast", "m", outputs=("i",), to=INT64), node("Gather", "x", "i", axis=2)),
    ),
    "coordinates from the end": case(node("GatherND", "x", "i"), i=whole(-1, 2, 0, -1).reshape(2, 2)),
    "coordinates of one place": case(node("GatherND", "x", "i"), i=whole(1, -1)),
    "slopes of the last axis": case(node("PRelu", "x", "s"), s=numbers(6)),
    "slopes of the last axis, as many as channels": case(node("PRelu", "x", "s"), s=numbers(6), shape=(2, 6, 6)),
    "slopes of two axes": case(node("PRelu", "x", "s"), s=numbers(4, 6)),
    "slopes that are computed": case(node("Abs", "x", outputs=("s",)), node("PRelu", "x", "s")),
    "one slope": case(node("PRelu", "x", "s"), s=numbers(1)),
    "parts of which the last is smaller": case(
        node("Split", "x", outputs=("a", "b", "c"), axis=-1, num_outputs=3),
        node("Concat", "c", "a", "b", axis=2),
        shape=(2, 4, 7),
        opset=18,
    ),
    "a sum of three": case(node("Sum", "c", "x", "x"), c=numbers(4, 1)),
    "a sum of one": case(node("Sum", "x")),
    "the largest of three": case(node("Max", "c", "x", "d"), c=numbers(1), d=numbers(4, 1)),
    "a constant reshaped by 0": case(
        *(node("Reshape", "c", "s", outputs=("e",)), node("Mul", "x", "e")), c=numbers(1, 6), s=whole(0, -1)
    ),
    "constants of which three are added": case(
        *(
            node("Sum", "c", "d", "e", outputs=("s",)),
            node("Max", "s", "d", "c", outputs=("m",)),
            node("Mul", "x", "m"),
        ),
        **{"c": numbers(6), "d": 2 - numbers(6), "e": numbers(4, 1)},
    ),
    "whole constants divided": case(
        *(node("Div", "a", "b", outputs=("q",)), node("Cast", "q", outputs=("r",), to=REAL), node("Mul", "x", "r")),
        **{"a": whole(-7, 7, -6, 6, 5, -5), "b": whole(2, -2, 3, 3, 9, 2)},
    ),
    "whole numbers divided": case(*from_whole(node("Div", "i", "c", outputs=("d",))), c=np.int32(2)),
    "whole numbers divided by computed ones": case(
        *from_whole(
            node("Abs", "i", outputs=("a",)),
            node("Max", "a", "one", outputs=("b",)),
            node("Div", "c", "b", outputs=("d",)),
            to=INT64,
        ),
        **{"one": np.int64(1), "c": whole(-9, 9, 7, -7, 100, -1)},
    ),
    "whole numbers to a power": case(*from_whole(node("Pow", "i", "c", outputs=("d",))), c=np.int32(3), shape=(3, 5)),
    "the mean of whole numbers": case(*from_whole(node("ReduceMean", "i", outputs=("d",), axes=[2]))),
    "the remainder of a division by zero": case(node("Mod", "x", "c", fmod=1), c=np.float32([0, 1, 2, -1, 0, 3])),
    "what is added to rows": case(
        node("Gemm", "x", "w", "b", beta=0.5), w=numbers(4, 5), b=numbers(5, 1), shape=(5, 4)
    ),
    "what is added to places": case(
        node("Gemm", "x", "w", "b", transB=1), w=numbers(3, 4), b=numbers(5, 3), shape=(5, 4)
    ),
    "a matrix from the left": case(node("Gemm", "x", "w", transA=1, alpha=2.0), w=numbers(5, 3), shape=(5, 4)),
    "batches of one": case(node("MatMul", "x", "w"), w=numbers(3, 1, 6, 2)),
    "a row": case(node("MatMul", "w", "x"), w=numbers(4)),
    "a column": case(node("MatMul", "x", "w"), w=numbers(6)),
    "axes before one": case(node("Softmax", "x", axis=1), opset=11),
    "all axes": case(node("LogSoftmax", "x", axis=0), opset=11),
    "Selu of other numbers": case(node("Selu", "x", alpha=2.0, gamma=3.0)),
    "two axes from the end": case(node("Flatten", "x", axis=-1)),
    "one axis": case(node("Flatten", "x", axis=0)),
    "axes of length 1": case(node("Squeeze", "x"), shape=(2, 1, 3, 1)),
    "axes of which none is reduced": case(node("ReduceSum", "x", noop_with_empty_axes=1)),
    "axes two and three of five": case(node("ReduceMean", "x", axes=[2, 3]), shape=(2, 3, 4, 5, 6)),
    "backwards": case(
        node("Slice", "x", "b", "e", "a", "s"), b=whole(-1, 9), e=whole(-(2**31), -7), a=whole(1, 2), s=whole(-1, -2)
    ),
    "backwards from before the first": case(
        node("Slice", "x", "b", "e", "a", "s"), b=whole(-9), e=whole(-(2**31)), a=whole(2), s=whole(-1)
    ),
    "constants backwards": case(
        *(node("Slice", "c", "b", "e", "a", "s", outputs=("d",)), node("Mul", "x", "d")),
        **{"c": numbers(8), "b": whole(-2), "e": whole(-99), "a": whole(0), "s": whole(-1)},
        shape=(2, 4, 7),
    ),
    "longer axes between others": case(node("Expand", "x", "s"), s=whole(3, 2, 2, 3, 4, 2), shape=(1, 2, 1, 3, 1, 2)),
    "repeated along all axes": case(node("Tile", "x", "r"), r=whole(2, 3, 1, 2), shape=(2, 1, 3, 4)),
    "columns before rows": case(node("DepthToSpace", "x", blocksize=2, mode="CRD"), shape=(2, 8, 3, 5)),
    "pads of some axes": case(
        node("Pad", "x", "p", "", "a"), p=whole(1, 0, 0, 2), a=whole(3, -2), shape=IMAGE, opset=18
    ),
    "no pads": case(node("MaxPool", "x", kernel_shape=[2], auto_pad="VALID")),
}


LATER = {"axes of which none is reduced"}
CASES = [pytest.param(name, marks=in_later_ones) if name in LATER else name for name in FORMS]


@pytest.mark.parametrize("name", CASES)
def test_the_value_is_onnx_runtimes(name: str, tmp_path: Path) -> None:
    nodes, shape, opset, constants = FORMS[name]
    data = np.random.RandomState(1).randint(-6, 7, shape).astype(np.float32)
    model = model_of(nodes, shape, opset, **constants)
    found = forward(*read(model, tmp_path), x=data)[0]
    expected = in_onnxruntime(model, x=data)[0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@in_later_ones
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(1, 2, 0), (2, 2, 1), (2, 3, 1), (3, 2, 1), (3, 4, 1), (4, 3, 2)]
)
def test_a_window_that_begins_in_padding_is_left_out(
    op: str, kernel: int, stride: int, pad: int, tmp_path: Path
) -> None:
    for length in range(5, 9):
        for counted in (0, 1) if op == "AveragePool" else (0,):
            attrs: Dict[str, Any] = {"count_include_pad": 1} if counted else {}
            attrs.update(kernel_shape=[kernel], strides=[stride], pads=[pad, pad], ceil_mode=1)
            check(model_of([node(op, "x", **attrs)], (1, 2, length)), tmp_path, images(1, 2, length))


@in_later_ones
def test_a_window_that_begins_in_padding_on_one_axis_alone(tmp_path: Path) -> None:
    attrs = {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 0, 1, 0], "ceil_mode": 1}
    check(model_of([node("MaxPool", "x", **attrs)], (1, 2, 5, 6)), tmp_path, images(1, 2, 5, 6))
    with pytest.raises(
        GraphError, match=r"\(AveragePool\): its ceil_mode .* adds a window on some axes and none on others"
    ):
        read(model_of([node("AveragePool", "x", **attrs)], (1, 2, 5, 6)), tmp_path)


def test_windows_are_counted_as_they_are_drawn() -> None:
    for length, size, stride, front, back in np.ndindex(9, 4, 4, 3, 3):
        size, stride = size + 1, stride + 1
        if not length or length + front + back < size or max(front, back) >= size:
            continue
        begins = [0]
        while begins[-1] + size < length + front + back and begins[-1] + stride < length + front:
            begins.append(begins[-1] + stride)
        beyond = max(0, begins[-1] + size - (length + front + back))
        assert last_window(length, size, stride, front, back) == (len(begins), beyond)


@in_later_ones
def test_what_follows_a_pooling_has_its_windows(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", "x", outputs=("p",), kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1),
        node("Conv", "p", "w"),
    ]
    for batch in (2, "N"):
        check(model_of(nodes, (batch, 3, 6, 8), w=numbers(4, 3, 2, 2)), tmp_path, images(2, 3, 6, 8))


@pytest.mark.parametrize("kind", ["int64", "int32", "float32"])
def test_tokens_are_taken_as_whole_numbers_and_as_real_ones(kind: str, tmp_path: Path) -> None:
    """What is added to them, and the rows that they choose, are float32."""
    nodes = [
        node("Gather", "table", "tokens", outputs=("rows",)),
        node("Unsqueeze", "mask", "axis", outputs=("column",)),
        node("Cast", "column", outputs=("real",), to=REAL),
        node("Mul", "rows", "real", outputs=("kept",)),
        node("ReduceSum", "kept", "time", keepdims=0),
    ]
    model = model_of(nodes, table=numbers(12, 4), axis=whole(2), time=whole(1))
    del model.graph.input[:]
    model.graph.input.extend(helper.make_tensor_value_info(name, INT64, ["N", 5]) for name in ("tokens", "mask"))
    network = read(model, tmp_path)
    rng = np.random.RandomState(0)
    data = {"tokens": rng.randint(-12, 12, (3, 5)), "mask": rng.randint(0, 2, (3, 5))}
    found = forward(*network, **{name: value.astype(kind) for name, value in data.items()})[0]
    np.testing.assert_allclose(found, in_onnxruntime(model, **data)[0], rtol=1e-5)
    exported = mxquant.export_onnx(
        network.symbol, input_shapes={name: (3, 5) for name in data}, arg_params=network.arg_params
    )
    assert {each.type.tensor_type.elem_type for each in exported.proto.graph.input} == {INT64}
    np.testing.assert_allclose(in_onnxruntime(exported.proto, **data)[0], found, rtol=1e-5)
    calibrated = mxquant.quantize(
        network.symbol,
        [{name: value.astype(kind) for name, value in data.items()}],
        arg_params=network.arg_params,
        accuracy="fast",
    )
    assert calibrated.symbol.list_outputs()


def refused(*nodes: Any, shape: Tuple[Any, ...] = (2, 4, 6), opset: int = 13, **constants: Any) -> Case:
    return case(*nodes, shape=shape, opset=opset, **constants)


REFUSED: Dict[str, Case] = {
    r"\(Gather\): it takes places -7 to 0 of an axis that has 6": case(
        node("Gather", "x", "i", axis=2), i=whole(0, -7)
    ),
    r"\(GatherND\): it takes places 4 to 4 of an axis that has 4": case(node("GatherND", "x", "i"), i=whole(0, 4)),
    r"its slope has the shape \(2, 2, 4, 6\), which does not go with": case(
        node("PRelu", "x", "s"), s=numbers(2, 2, 4, 6)
    ),
    r"\(PRelu\): its inputs have the shapes \[2, 4, 6\], \[4\]": case(node("PRelu", "x", "s"), s=numbers(4)),
    "which has zeros": case(*from_whole(node("Div", "i", "c", outputs=("d",))), c=np.int32(0)),
    "it raises whole numbers to a power": case(*from_whole(node("Pow", "i", "c", outputs=("d",))), c=np.int32(-1)),
    "is split into 4 equal parts, which it has not": case(
        node("Split", "x", outputs=("y", "b", "c", "d"), axis=2), shape=(2, 4, 6)
    ),
    "expected 2 parts with all": case(node("Split", "x", "s", outputs=("y", "b"), axis=2), s=whole(1, 4)),
    r"\(Slice\): 'y' has the shape \[2, 0, 6\], without values": case(
        node("Slice", "x", "b", "e", "a"), b=whole(3), e=whole(3), a=whole(1)
    ),
    "it is of version|has the number 16777217, which float32 has not": case(
        *from_whole(node("Add", "i", "c", outputs=("d",)), to=INT64), c=whole(1, 2, 3, 4, 5, 2**24 + 1)
    ),
    "it interpolates between whole numbers": case(
        *from_whole(node("Resize", "i", "", "s", outputs=("d",), mode="linear")),
        s=np.float32([1, 1, 2, 2]),
        shape=IMAGE,
    ),
    "it reflects 3 numbers of an axis of 3": case(
        node("Pad", "x", "p", mode="reflect"), p=whole(0, 0, 3, 0, 0, 0, 0, 0), shape=(1, 1, 3, 5)
    ),
    r"its pads \[-1, -1\] are negative": case(node("MaxPool", "x", kernel_shape=[2], pads=[-1, -1])),
    "expected smaller numbers than its kernel has": case(node("MaxPool", "x", kernel_shape=[2], pads=[2, 2])),
    "size is 2, expected an odd number": case(node("LRN", "x", size=2), shape=IMAGE),
    r"\(Softmax\): its axis is 9, expected one from -3 to 2": case(node("Softmax", "x", axis=9), opset=11),
    r"its axes are \[1, 1\], expected each once": case(node("ReduceMax", "x", axes=[1, -2])),
    r"\(ReduceMax\): it has 6 groups of axes that are treated alike, of which MXNet takes 5": case(
        node("ReduceMax", "x", axes=[0, 2, 4]), shape=(2, 3, 2, 3, 2, 3)
    ),
    r"\(Add\): it has 6 groups of axes": case(
        node("Add", "x", "c"), shape=(2, 1, 2, 1, 2, 1), c=numbers(1, 3, 1, 2, 1, 2)
    ),
    "auto_pad=SAME_UPPER leaves 2 of 6 numbers out": case(
        node("MaxPool", "x", kernel_shape=[1], strides=[3], auto_pad="SAME_UPPER")
    ),
    "keepdims is 2, expected 0 or 1": case(node("ReduceMax", "x", keepdims=2)),
    "expected numbers below 65536": case(node("MaxPool", "x", kernel_shape=[2], strides=[1 << 20])),
    "blocksize is 0": case(node("DepthToSpace", "x", blocksize=0), shape=IMAGE),
    r"MXNet cannot compute it of inputs of \[2, 4, 6\], \[5\].*: .* has the shape \(5,\), expected \(4,\)": case(
        node("BatchNormalization", "x", *"gbmv"), **{name: np.ones(5, np.float32) for name in "gbmv"}
    ),
    "it is in training mode, or may be": case(node("Dropout", "x", "r", "t"), r=np.float32(0.5), t=np.asarray(True)),
    r"'text' is of the type STRING, expected numbers": case(
        *(node("Cast", "x", outputs=("text",), to=TensorProto.STRING), node("Cast", "text", to=REAL)),
    ),
    r"the output 'y' of ONNX node 'the_Shape_y' \(Shape\) does not depend": case(node("Shape", "x")),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_would_be_otherwise_is_refused(message: str, tmp_path: Path) -> None:
    nodes, shape, opset, constants = REFUSED[message]
    with pytest.raises(GraphError, match=message):
        read(model_of(nodes, shape, opset, **constants), tmp_path)


def test_parts_have_to_be_as_many_as_outputs() -> None:
    """ONNX's inference may end the process for others, so that the check comes before it, and is tested by itself."""
    for count, message in ((2, None), (3, r"num_outputs is 3, expected 2, as many as it has outputs")):
        graph = model_of([node("Split", "x", outputs=("y", "z"), num_outputs=count)]).graph
        if message is None:
            reader._refuse_splits(graph)
            continue
        with pytest.raises(GraphError, match=message):
            reader._refuse_splits(graph)


def test_places_of_a_shape_are_checked_before_onnx_infers_them() -> None:
    """ONNX's inference of shapes may end the process for others: the check is tested by itself."""
    for place, message in (
        (2, None),
        (-3, None),
        (3, "it takes places 3 to 3 of an axis that has 3"),
        (-4, "places -4 to"),
    ):
        nodes = [node("Shape", "x", outputs=("s",)), node("Gather", "s", "i")]
        model = model_of(nodes, (2, 4, 6), i=np.int64(place))
        if message is None:
            inference._refuse_far_places(onnx, model)
            continue
        with pytest.raises(GraphError, match=message):
            inference._refuse_far_places(onnx, model)


def test_whole_numbers_of_few_bits_are_not_calculated_with(tmp_path: Path) -> None:
    model = model_of([node("Sub", "x", "x", outputs=("d",)), node("Cast", "d", to=REAL)])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(GraphError, match=r"\(Sub\): its input 'x' is of whole numbers of few bits or without sign"):
        read(model, tmp_path)


def test_a_shape_that_mxnet_makes_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(step: Any) -> None:
        step.returns(mx.sym.Flatten(step.symbol(0)))

    monkeypatch.setitem(reader.OPERATORS, "Neg", wrong)
    message = (
        r"ONNX node 'the_Neg_y' \(Neg\): MXNet makes the shape \[2, 24\] of inputs of \[2, 4, 6\], "
        r"expected \[2, 4, 6\] as ONNX infers for its output"
    )
    with pytest.raises(GraphError, match=message):
        read(model_of([node("Neg", "x")], (2, 4, 6)), tmp_path)
    # Where lengths are free, numbers are tried.
    with pytest.raises(
        GraphError, match=r"MXNet makes the shape \[1, 4096\] of inputs of \[1, 64, 64\], expected \[N, T, C\]"
    ):
        read(model_of([node("Neg", "x")], ("N", "T", "C")), tmp_path)


def test_what_mxnet_refuses_at_lengths_that_were_tried_passes(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x", "w", outputs=("m",)), node("Relu", "m")]
    check(model_of(nodes, ("N", "T", "C"), w=numbers(6, 3)), tmp_path, images(2, 4, 6))


def test_a_free_batch_of_which_the_network_takes_one_example_is_read(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "s", outputs=("r",)), node("MatMul", "r", "w", outputs=("m",)), node("Relu", "m")]
    check(model_of(nodes, ("N", 4, 6), s=whole(1, -1), w=numbers(24, 3)), tmp_path, images(1, 4, 6))


def test_lengths_that_the_file_writes_out_are_not_taken_for_wrong(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "s", outputs=("r",)), node("Add", "r", "c")]
    check(model_of(nodes, ("N", "T"), s=whole(-1, 3, 4), c=numbers(3, 4)), tmp_path, images(5, 12))


@pytest.mark.parametrize("op", ["Pad"])
def test_a_reflection_is_checked_before_mxnet_gets_it(op: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: List[Any] = []

    def refuse(step: Any, *what: Any) -> None:
        found.extend(what)
        raise step.refuse("the check says no")

    monkeypatch.setattr(layers, "_check_reflection", refuse)
    with pytest.raises(GraphError, match=rf"\({op}\): the check says no"):
        read(model_of([node(op, "x", "p", mode="reflect")], p=whole(0, 0, 1, 2, 0, 0, 0, 3)), tmp_path)
    assert found == ["reflect", [0, 0, 0, 0, 1, 0, 2, 3]]


def test_a_value_of_a_shape_that_only_the_file_knows_is_compared_too(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.float32([1]))
    nodes = [node("ConstantOfShape", "n", outputs=("c",), value=constant), node("Mul", "x", "c")]
    check(model_of(nodes, (2, 4, 6), n=whole(4, 6)), tmp_path, images(2, 4, 6))
