"""ONNX that MXNet cannot compute, and files that are none, are refused by an error that says where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
from onnx import TensorProto, helper

import mxquant
from mxquant import GraphError, InputError
from mxquant.onnx_import import arithmetic, reader, sampling, tensors
from mxquant.onnx_import.evaluation import refuse_too_much
from mxquant.onnx_import.state import State, Step
from mxquant.runtime.mxnet import mx
from tests.networks import forward, images
from tests.onnx_export.cases import CASES
from tests.onnx_import.models import IMAGE, REGIONS, check, model_of, node, read, resized, whole


def test_more_constants_than_can_be_meant_are_refused(tmp_path: Path) -> None:
    for nodes, value in (
        ([node("Expand", "one", "s", outputs=("e",))], whole(1 << 20, 1 << 20)),
        ([node("ConstantOfShape", "s", outputs=("e",))], whole(1 << 20, 1 << 20)),
    ):
        model = model_of([*nodes, node("Add", "x", "e")], one=np.float32([1]), s=value)
        with pytest.raises(GraphError, match="it makes 1099511627776 values of constants"):
            read(model, tmp_path)


def test_regions_whose_pixels_have_their_centre_at_one_half_are_written_and_not_read(tmp_path: Path) -> None:
    shape, build = CASES["_contrib_ROIAlign aligned"]
    model = mxquant.export_onnx(build(mx.sym.var("data")), tmp_path / "net.onnx", input_shapes=shape)
    assert model.proto.opset_import[0].version == 16
    with pytest.raises(GraphError, match="it is half_pixel, with which MXNet's ROIAlign may end the process"):
        mxquant.from_onnx(tmp_path / "net.onnx")


def test_a_shape_that_the_file_states_and_onnx_does_not_infer_is_not_believed(tmp_path: Path) -> None:
    nodes = [node("Slice", "x", "b", "e", "a", outputs=("part",)), node("Relu", "part", outputs=("r",))]
    model = model_of([*nodes, node("Add", "x", "r")], b=whole(0), e=whole(1), a=whole(2))
    for name in ("part", "r"):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    network = read(model, tmp_path)
    data = images(*IMAGE)
    np.testing.assert_allclose(forward(*network, x=data)[0], data + np.maximum(data[:, :, :1], 0), rtol=1e-5)


def test_operators_without_translation_are_all_named(tmp_path: Path) -> None:
    model = model_of([node("Acosh", "x", outputs=("a",)), node("Det", "a", outputs=("d",)), node("Neg", "d")])
    with pytest.raises(
        GraphError, match=r"no translation to MXNet for Acosh \(node 'the_Acosh_a'\), Det \(node 'the_De"
    ):
        read(model, tmp_path)


REFUSED: Dict[str, Tuple[List[Any], Dict[str, np.ndarray], int]] = {
    "scales are": ([node("Resize", "x", "", "s", mode="nearest")], {"s": np.float32([1, 1, 2, 3])}, 13),
    "mode is cubic": ([node("Resize", "x", "", "s", mode="cubic")], {"s": np.float32([1, 1, 2, 2])}, 13),
    "it is linear and asymmetric": (
        [node("Resize", "x", "", "s", mode="linear", coordinate_transformation_mode="asymmetric")],
        {"s": np.float32([1, 1, 2, 2])},
        13,
    ),
    "antialias is set": (
        [node("Resize", "x", "", "", "z", mode="linear", antialias=1)],
        {"z": whole(2, 4, 4, 5)},
        18,
    ),
    "keep_aspect_ratio_policy is not_larger": resized(
        "z", whole(2, 4, 4, 5), 18, keep_aspect_ratio_policy="not_larger"
    ),
    "9 times 1.5 is no whole number": resized("s", np.float32([1, 1, 1.5, 2])),
    "one pixel is taken from the middle": resized("z", whole(2, 4, 1, 5)),
    "only height and width can be resized": resized("s", np.float32([1, 2, 2, 2])),
    "align_corners and round_prefer_floor with the factor 2": (
        [node("Resize", "x", "", "s", coordinate_transformation_mode="align_corners")],
        {"s": np.float32([1, 1, 2, 2])},
        13,
    ),
    "asymmetric and round_prefer_floor with the factor 3": (
        [node("Resize", "x", "", "s", coordinate_transformation_mode="asymmetric")],
        {"s": np.float32([1, 1, 3, 3])},
        13,
    ),
    "it is half_pixel, with which": ([node("RoiAlign", "x", "r", "i")], REGIONS, 16),
    "mode is max": ([node("RoiAlign", "x", "r", "i", mode="max")], REGIONS, 13),
    "spatial_scale is 2.0": ([node("RoiAlign", "x", "r", "i", spatial_scale=2.0)], REGIONS, 13),
    "a cast to type 8 is not supported": ([node("Cast", "x", to=8)], {}, 13),
    "expected numbers above 0": ([node("Expand", "x", "s")], {"s": whole(2, 4, 0, 10)}, 13),
    "has to be constant or that of a tensor": (
        [node("Cast", "x", outputs=("s",), to=7), node("ConstantOfShape", "s")],
        {},
        13,
    ),
    "it pads axis 4 of 5; of more than four axes none": (
        [node("Unsqueeze", "x", "a", outputs=("u",)), node("Pad", "u", "p")],
        {"a": whole(4), "p": whole(0, 0, 0, 0, 1, 0, 0, 0, 0, 0)},
        13,
    ),
    "'d' is computed, and MXNet has it of constants only": (
        [node("Cast", "x", outputs=("d",), to=7), node("Range", "b", "d", "b")],
        {"b": np.int64(1)},
        13,
    ),
    "its step is 0": ([node("Range", "b", "b", "c", outputs=("r",)), node("Add", "x", "r")], {"b": 1.0, "c": 0.0}, 13),
    "it cannot be computed of constants": (
        [node("MatMul", "c", "d", outputs=("m",)), node("Add", "x", "m")],
        {"c": np.ones((2, 3), np.float32), "d": np.ones((2, 3), np.float32)},
        13,
    ),
    "values of constants, expected at most": (
        [node("Tile", "c", "t", outputs=("r",)), node("Add", "x", "r")],
        {"c": np.ones((1, 1), np.float32), "t": whole(1 << 20, 1 << 20)},
        13,
    ),
    "dilated pooling": ([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], {}, 13),
    "are not counted": ([node("AveragePool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1])], {}, 13),
    "k is \\[0\\], expected one number above 0": (
        *([node("TopK", "x", "k", outputs=("y", "i"))], {"k": whole(0)}, 13),
    ),
    "select_last_index is set": ([node("ArgMax", "x", select_last_index=1)], {}, 13),
    "batch_dims is 1": ([node("GatherND", "x", "i", batch_dims=1)], {"i": whole(1, 0).reshape(2, 1)}, 13),
    "does not depend on any input": ([node("Identity", "c")], {"c": np.ones(3, np.float32)}, 13),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_mxnet_cannot_do_is_refused(message: str, tmp_path: Path) -> None:
    nodes, constants, opset = REFUSED[message]
    with pytest.raises(GraphError, match=message):
        read(model_of(nodes, opset=opset, **constants), tmp_path)


def step(*shapes: Tuple[Any, ...]) -> Step:
    """Return a node whose inputs have shapes, and nothing else."""
    names = [f"input{number}" for number in range(len(shapes))]
    return Step(State(13, {}, shapes=dict(zip(names, shapes))), "node", "Any", names, ["y"], {})


@pytest.mark.parametrize(
    ("indices", "batch", "message"),
    [
        ([1, 0, 1], 2, None),
        ([], 2, None),
        ([5], "n", None),
        ([1, 0, 2], 2, "its regions are of images 0 to 2, of 2"),
        ([-1, 0], 2, "its regions are of images -1 to 0, of 2"),
        ([-1], "n", "its regions are of images -1 to -1, of any number"),
    ],
)
def test_regions_have_to_be_of_images_of_the_batch(indices: List[int], batch: Any, message: Optional[str]) -> None:
    if message is None:
        sampling._check_images(step((batch, 4, 9, 10)), whole(*indices))
        return
    with pytest.raises(GraphError, match=message):
        sampling._check_images(step((batch, 4, 9, 10)), whole(*indices))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([0, -1, 10], None),
        ([0, 4, 9, 10], None),
        ([0, 4, 9, 9], r"which has not as many values as its data \[2, 4, 9, 10\]"),
        ([0, -1, 7], r"its shape is \[0, -1, 7\], which has not"),
        ([2, 4, 90, 1, 0], "whose 0 keeps a length that its data"),
    ],
)
def test_a_new_shape_has_to_have_as_many_values(lengths: List[int], message: Optional[str]) -> None:
    if message is None:
        tensors._check_size(step(IMAGE), IMAGE, lengths)
        return
    with pytest.raises(GraphError, match=message):
        tensors._check_size(step(IMAGE), IMAGE, lengths)


def test_shapes_of_two_inputs_have_to_go_together() -> None:
    for fitting in ((4, 1, 10), (1,), ("n", None, 10), (2, 2, 4, 9, 10)):
        arithmetic._check_lengths(step(IMAGE, fitting), [IMAGE, fitting])
    with pytest.raises(GraphError, match=r"its inputs have the shapes \[2, 4, 9, 10\], \[2, 4, 3, 10\]"):
        arithmetic._check_lengths(step(IMAGE, (2, 4, 3, 10)), [IMAGE, (2, 4, 3, 10)])


CHECKED: Dict[str, Tuple[Any, str, Any, Dict[str, np.ndarray], Any]] = {
    "RoiAlign": (sampling, "_check_images", node("RoiAlign", "x", "r", "i"), REGIONS, [1, 0, 1]),
    "MaxRoiPool": (
        *(sampling, "_check_images", node("MaxRoiPool", "x", "r", pooled_shape=[2, 2])),
        *({"r": np.float32([[1, 0, 0, 2, 2], [0] * 5])}, [1, 0]),
    ),
    "Reshape": (tensors, "_check_size", node("Reshape", "x", "s"), {"s": whole(0, -1, 10)}, [0, -1, 10]),
    "Xor": (arithmetic, "_check_lengths", node("Xor", "x", "c"), {"c": np.ones((4, 1, 10), bool)}, [IMAGE, (4, 1, 10)]),
}


@pytest.mark.parametrize("op", CHECKED)
def test_these_checks_come_before_mxnet_gets_the_operator(
    op: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, checked, constants, expected = CHECKED[op]
    found: List[Any] = []

    def refuse(step: Step, *what: Any) -> None:
        found.append(what[-1])
        raise step.refuse("the check says no")

    monkeypatch.setattr(module, name, refuse)
    with pytest.raises(GraphError, match=rf"\({op}\): the check says no"):
        read(model_of([checked], **constants), tmp_path)
    assert list(found[0]) == expected


@pytest.mark.parametrize(("opset", "known"), [(6, False), (7, True), (17, True), (23, True)])
def test_versions_of_onnx(opset: int, known: bool, tmp_path: Path) -> None:
    model = model_of([node("Relu", "x")], opset=opset)
    if known:
        check(model, tmp_path, images(*IMAGE))
        return
    with pytest.raises(InputError, match=rf"has ONNX operators of version {opset} \(Relu\), expected 7 or newer"):
        read(model, tmp_path)


def test_an_operator_that_has_changed_since_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_NEWEST", 13)
    read(model_of([node("Relu", "x")], opset=13), tmp_path)
    with pytest.raises(GraphError, match=r"\(Relu\): it is of version 14, expected at most 13"):
        read(model_of([node("Relu", "x")], opset=17), tmp_path)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no protobuf at all")
    with pytest.raises(InputError, match=r"cannot read '.*net.onnx' as ONNX"):
        mxquant.from_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"cannot read '.*none.onnx' as ONNX"):
        mxquant.from_onnx(tmp_path / "none.onnx")


def test_shapes_have_to_fit(tmp_path: Path) -> None:
    model = model_of([node("Relu", "x")])
    with pytest.raises(InputError, match="the network has no input 'data'; its inputs are x"):
        read(model, tmp_path, input_shapes={"data": IMAGE})
    with pytest.raises(InputError, match="expected 4 lengths"):
        read(model, tmp_path, input_shapes=(1, 2))


@pytest.mark.parametrize("shapes", [[None], [(3,), (2, None)], [("n",)]])
def test_of_constants_nothing_of_unknown_size_is_computed(shapes: Any) -> None:
    with pytest.raises(GraphError, match="it is not known how many values it makes of constants"):
        refuse_too_much(step(), shapes)
