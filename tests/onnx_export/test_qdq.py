"""Where QuantizeLinear and DequantizeLinear go, and what they hold."""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any, Dict, List, Tuple

import numpy as np
import onnx
import pytest

import mxquant
from mxquant import InputError, LoweringError, OutputError, PlanError
from mxquant.lowering.isa import detect, saturates
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr
from tests.onnx_export.runtimes import executed, in_onnxruntime

DATA = images(8, 4, 8, 8)


def quantized(symbol: Any, data: Any = DATA, change: Any = None, edit: Any = None, **options: Any) -> Tuple[Any, Any]:
    """Return the exported model and what it should compute on the data, by the simulation.

    `change` gets the parameters, `edit` the plan, of which it returns another.
    """
    args, aux = random_params(symbol, data=data.shape)
    if change is not None:
        change(args)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, target="onnx_qdq", **{"method": "minmax", **options}, **params)
    plan = plan if edit is None else edit(plan)
    simulated = mxquant.lower(symbol, plan, target="simulate", **params)
    expected = forward(simulated.symbol, simulated.arg_params, simulated.aux_params, data=data)[0]
    return mxquant.export_onnx(symbol, plan=plan, input_shapes=data.shape, **params), expected


def chain(model: Any) -> List[str]:
    """Return the operators on the way from the first input to the output, weights and biases aside."""
    graph = model.proto.graph
    names = [graph.input[0].name]
    ops: List[str] = []
    while names[-1] != graph.output[0].name:
        node = next(node for node in graph.node if node.input[0] == names[-1])
        ops.append(node.op_type)
        names.append(node.output[0])
    return ops


def constants(model: Any) -> Dict[str, np.ndarray]:
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.proto.graph.initializer}


Q, DQ = "QuantizeLinear", "DequantizeLinear"


def test_a_convolution_and_its_relu_have_a_pair_before_and_behind() -> None:
    model, expected = quantized(relu(conv(relu(conv(mx.sym.var("data"), "c1")), "c2")))
    assert chain(model) == [Q, DQ, "Conv", "Relu", Q, DQ, "Conv", "Relu", Q, DQ]
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


def test_a_clip_stays_with_its_convolution_and_ends_the_range() -> None:
    x = conv(mx.sym.clip(conv(mx.sym.var("data"), "c1"), 0, 0.5, name="six"), "c2")
    model, expected = quantized(x)
    assert chain(model) == [Q, DQ, "Conv", "Clip", Q, DQ, "Conv", Q, DQ]
    assert 255 * constants(model)["six_output_scale"] <= 0.5
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


def test_both_operands_of_an_addition_are_quantized_and_its_relu_comes_before_the_next_pair() -> None:
    stem = relu(conv(mx.sym.var("data"), "c1"))
    total = relu(mx.sym.elemwise_add(conv(stem, "c2"), stem, name="sum"), name="act")
    model, expected = quantized(conv(total, "c3"))
    add = next(node for node in model.proto.graph.node if node.op_type == "Add")
    makers = {name: node for node in model.proto.graph.node for name in node.output}
    assert [makers[name].op_type for name in add.input] == [DQ, DQ]
    readers = [node.op_type for node in model.proto.graph.node if add.output[0] in node.input]
    assert readers == ["Relu"]
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


@pytest.mark.parametrize("clipped", [False, True])
def test_the_simulation_of_an_addition_with_its_activation_is_that_of_the_runtime(clipped: bool) -> None:
    stem = relu(conv(mx.sym.var("data"), "c1"))
    total = mx.sym.elemwise_add(conv(stem, "c2"), stem, name="sum")
    total = mx.sym.clip(total, 0, 0.4) if clipped else relu(total)
    model, expected = quantized(conv(total, "c3"))
    assert sqnr(expected, in_onnxruntime(model.proto, False, data=DATA)[0]) > 60


def resized_between(height: int, width: int, aligned: bool) -> Any:
    """Return two convolutions with a resize between them."""
    options = {"height": height, "width": width, "align_corners": aligned, "name": "up"}
    x = relu(conv(mx.sym.var("data"), "c1"))
    return conv(mx.sym.contrib.BilinearResize2D(x, **options), "c2")


def with_a_step_of_its_own(plan: Any) -> Any:
    """Return a plan in which the mean of two values before a resize is never halfway between two codes behind it."""
    threshold = plan.tensors["up_output"].threshold
    return plan.edit_tensor("up_output", threshold=1.01 * threshold)


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("height", "width"), [(13, 11), (5, 19), (15, 15)])
def test_resizing_between_convolutions_stays_float32(height: int, width: int, aligned: bool, isa: str) -> None:
    model, expected = quantized(resized_between(height, width, aligned), edit=with_a_step_of_its_own, isa=isa)
    assert chain(model) == [Q, DQ, "Conv", "Relu", Q, DQ, "Resize", Q, DQ, "Conv", Q, DQ]
    # A CPU without VNNI has no exact sums for a plan that needs them: there ONNX Runtime computes in float32.
    exact = saturates(isa) or not saturates(detect())
    found = in_onnxruntime(model.proto, exact, data=DATA)[0]
    assert np.abs(found - expected).max() <= 1.001 * constants(model)["c2_output_scale"]
    assert sqnr(expected, found) > 50
    layers = executed(model.proto)
    assert layers["up"] == ("Interpolate", "f32")
    assert {name for name, kind in layers.items() if kind == ("Convolution", "u8")} >= {"c1/WithoutBiases"}


def test_what_a_resize_puts_between_two_codes_becomes_one_of_them() -> None:
    # Places 0, 1/2, 1, ... of 8; with VNNI the codes end at 255 on both sides, and the step is the same.
    model, _ = quantized(resized_between(15, 15, True), isa="vnni")
    scales = constants(model)
    resize = next(node for node in model.proto.graph.node if node.op_type == "Resize")
    behind = next(node for node in model.proto.graph.node if node.input[0] == resize.output[0])
    assert behind.op_type == Q
    before = next(node for node in model.proto.graph.node if node.output[0] == resize.input[0])
    assert before.op_type == DQ and scales[before.input[1]] == scales[behind.input[1]]
    for name, kind in ((before.input[0], onnx.TensorProto.UINT8), (behind.output[0], onnx.TensorProto.UINT8)):
        model.proto.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    codes, found = (each.astype(np.float64) for each in in_onnxruntime(model.proto, False, data=DATA)[1:])
    for axis in (2, 3):
        first, second = np.split(codes, [-1], axis)[0], np.split(codes, [1], axis)[1]
        means = np.insert(codes, range(1, codes.shape[axis]), (first + second) / 2, axis)
        codes = means
    assert (codes % 1 == 0.5).sum() > 1000
    assert np.abs(found - codes).max() <= 0.5


def test_pooling_flatten_and_concat_keep_one_scale() -> None:
    x = relu(conv(mx.sym.var("data"), "c1"))
    parts = [relu(conv(x, f"p{i}")) for i in range(2)]
    x = mx.sym.concat(*parts, dim=1, name="both")
    x = mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
    model, expected = quantized(dense(mx.sym.Flatten(x, name="flat"), "fc"))
    scales = constants(model)
    names = [name for name in scales if name.endswith("_scale") and name.split("_")[0] in ("both", "pool", "flat")]
    assert len(names) == 3
    assert len({float(scales[name]) for name in names}) == 1
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


def test_a_dense_layer_on_images_is_flattened_in_int8() -> None:
    model, expected = quantized(dense(relu(conv(mx.sym.var("data"), "c1")), "fc"))
    assert chain(model) == [Q, DQ, "Conv", "Relu", Q, DQ, "Flatten", Q, DQ, "Gemm"]
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


def test_a_dense_layer_that_does_not_flatten_is_a_product_of_matrices() -> None:
    data = images(8, 5, 12)
    model, expected = quantized(dense(dense(mx.sym.var("data"), "f1", flatten=False), "f2", flatten=False), data)
    assert chain(model) == [Q, DQ, "MatMul", "Add", Q, DQ, "MatMul", "Add"]
    assert sqnr(expected, in_onnxruntime(model.proto, data=data)[0]) > 60


def test_tensors_are_uint8_weights_int8_biases_int32_with_the_product_of_both_scales() -> None:
    model, _ = quantized(conv(relu(conv(mx.sym.var("data"), "c1")), "c2"))
    values = constants(model)
    # Its range is that of the data.
    point = np.rint(255 * -DATA.min() / (DATA.max() - DATA.min()))
    assert (values["data_zero_point"].dtype, int(values["data_zero_point"])) == (np.uint8, point)
    made = next(name for name in values if name.startswith("activation") and name.endswith("zero_point"))
    assert (values[made].dtype, int(values[made])) == (np.uint8, 0)
    assert values["c1_weight_quantized"].dtype == np.int8
    assert values["c1_weight_quantized"].shape == (8, 4, 3, 3)
    assert values["c1_weight_scale"].shape == (8,)
    assert values["c1_bias_quantized"].dtype == np.int32
    np.testing.assert_allclose(values["c1_bias_scale"], values["data_scale"] * values["c1_weight_scale"], rtol=1e-6)


def test_with_dtype_int8_nothing_has_a_zero_point_as_tensorrt_wants_it() -> None:
    model, expected = quantized(conv(relu(conv(mx.sym.var("data"), "c1")), "c2"), dtype="int8")
    points = {name: value for name, value in constants(model).items() if name.endswith("_zero_point")}
    assert all(not value.any() for value in points.values())
    assert {value.dtype for name, value in points.items() if "bias" not in name} == {np.dtype(np.int8)}
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


def test_a_large_bias_on_a_channel_of_tiny_weights_fits_into_int32() -> None:
    def change(args: Dict[str, Any]) -> None:
        args["c1_weight"][0] = 0
        args["c1_weight"][1] *= 1e-12
        args["c1_bias"][:2] = 50

    model, _ = quantized(conv(mx.sym.var("data"), "c1"), change=change)
    found = in_onnxruntime(model.proto, data=DATA)[0]
    np.testing.assert_allclose(found[:, :2], 50, atol=constants(model)["c1_output_scale"])
    assert np.abs(constants(model)["c1_bias_quantized"].astype(np.int64)).max() <= 2**30 + 1


def test_a_parameter_that_is_added_is_stored_as_int8() -> None:
    offset = mx.sym.var("offset", shape=(8, 8, 8, 8))
    x = mx.sym.elemwise_add(relu(conv(mx.sym.var("data"), "c1")), offset, name="sum")
    model, expected = quantized(conv(x, "c2"))
    assert constants(model)["offset_quantized"].dtype == np.uint8
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


def test_layers_in_float32_stay_so() -> None:
    x = relu(conv(mx.sym.var("data"), "c1"), "activation0")
    model, expected = quantized(conv(relu(conv(x, "c2")), "c3"), exclude_layers=["c2"])
    assert chain(model) == [Q, DQ, "Conv", "Relu", Q, DQ, "Conv", "Relu", Q, DQ, "Conv", Q, DQ]
    assert "c2_weight_quantized" not in constants(model)
    # With a single scale ONNX Runtime would quantize the layer's weights by itself.
    assert constants(model)["activation0_output_float32_scale"].shape == (8,)
    assert sqnr(expected, in_onnxruntime(model.proto, data=DATA)[0]) > 60


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
def test_codes_are_those_of_the_simulation_for_every_cpu(isa: str) -> None:
    # Weights that end at 64, biases in units twice as large, and a clip whose result has a zero point in MXNet.
    model, expected = quantized(conv(mx.sym.clip(conv(mx.sym.var("data"), "c1"), 0, 0.5), "c2"), isa=isa)
    # Not optimized, ONNX Runtime computes in float32, so that nothing saturates on any CPU.
    np.testing.assert_allclose(in_onnxruntime(model.proto, False, data=DATA)[0], expected, rtol=1e-5)


def test_rows_of_zeros_that_stand_for_padding_go_again() -> None:
    x = mx.sym.Pad(mx.sym.var("data"), mode="constant", pad_width=(0, 0, 0, 0, 0, 1, 0, 1))
    symbol = conv(x, "c1", stride=(2, 2), pad=(0, 0))
    args, aux = random_params(symbol, data=DATA.shape)
    fp32 = mxquant.export_onnx(symbol, input_shapes=DATA.shape, arg_params=args, aux_params=aux)
    int8, _ = quantized(symbol)
    for model in (fp32, int8):
        layer = next(node for node in model.proto.graph.node if node.op_type == "Conv")
        attrs = {each.name: list(each.ints) for each in layer.attribute}
        assert attrs["kernel_shape"] == [3, 3]
        assert attrs["pads"] == [0, 0, 1, 1]
    np.testing.assert_allclose(
        in_onnxruntime(fp32.proto, data=DATA)[0], forward(symbol, args, aux, data=DATA)[0], rtol=1e-4, atol=1e-5
    )


def test_the_file_says_where_it_comes_from(tmp_path: Any) -> None:
    model, _ = quantized(conv(mx.sym.var("data"), "c1"))
    model.save(tmp_path / "net.onnx")
    read = onnx.load(str(tmp_path / "net.onnx"))
    properties = {each.key: each.value for each in read.metadata_props}
    assert properties["mxquant"] == mxquant.__version__
    assert properties["network"] == model.plan.network
    assert len(properties["plan"]) == 64
    assert properties["isa"] == detect()
    assert read.opset_import[0].version >= 13


def test_quantize_exports_with_better_weights() -> None:
    symbol = conv(relu(conv(mx.sym.var("data"), "c1")), "c2")
    args, aux = random_params(symbol, data=DATA.shape)
    model = mxquant.quantize(symbol, DATA, arg_params=args, aux_params=aux, target="onnx_qdq", accuracy="balanced")
    assert isinstance(model, mxquant.OnnxModel)
    assert sqnr(forward(symbol, args, aux, data=DATA)[0], in_onnxruntime(model.proto, data=DATA)[0]) > 35


def test_a_metric_is_reached_with_layers_in_float32() -> None:
    symbol = conv(relu(conv(mx.sym.var("data"), "c1")), "c2")
    args, aux = random_params(symbol, data=DATA.shape)
    params = {"arg_params": args, "aux_params": aux, "accuracy": "fast"}
    model = mxquant.quantize(symbol, DATA, target="onnx_qdq", metric="sqnr>=60 dB", **params)
    assert model.mixed_precision is not None
    assert sqnr(forward(symbol, args, aux, data=DATA)[0], in_onnxruntime(model.proto, data=DATA)[0]) > 60


def network() -> Tuple[Any, Dict[str, Any], Any]:
    symbol = conv(mx.sym.var("data"), "c1")
    args, aux = random_params(symbol, data=DATA.shape)
    params = {"arg_params": args, "aux_params": aux}
    return (
        symbol,
        params,
        mxquant.make_plan(symbol, mxquant.calibrate(symbol, DATA, **params), target="onnx_qdq", **params),
    )


def test_plans_that_do_not_fit_are_refused() -> None:
    symbol, params, plan = network()
    options = {"input_shapes": DATA.shape, **params}
    other = mxquant.make_plan(symbol, mxquant.calibrate(symbol, DATA, **params), **params)
    with pytest.raises(PlanError, match="the plan is for target 'onednn'; plan again with target='onnx_qdq'"):
        mxquant.export_onnx(symbol, plan=other, **options)
    tensors = {name: each for name, each in plan.tensors.items() if name != "data"}
    with pytest.raises(PlanError, match=r"tensors\['data'\]"):
        mxquant.export_onnx(symbol, plan=replace(plan, tensors=tensors), **options)
    with pytest.raises(PlanError, match=r"layers\['c1'\] is missing"):
        mxquant.export_onnx(symbol, plan=replace(plan, layers={}), **options)


def test_shapes_have_to_be_given_and_to_fit() -> None:
    symbol, params, plan = network()
    with pytest.raises(
        InputError, match=r"input_shapes is missing, which ONNX needs; expected a shape for each of data"
    ):
        mxquant.lower(symbol, plan, **params)
    with pytest.raises(InputError, match="expected a shape for each of data"):
        mxquant.export_onnx(symbol, input_shapes={"image": DATA.shape}, **params)
    with pytest.raises(InputError, match="expected positive whole numbers"):
        mxquant.export_onnx(symbol, input_shapes=(1, 4, -1, 8), **params)
    with pytest.raises(InputError, match="the network cannot take inputs of"):
        mxquant.export_onnx(symbol, input_shapes=(1, 5, 8, 8), **params)


def test_without_calibration_there_is_no_scale() -> None:
    symbol, params, _ = network()
    with pytest.raises(InputError, match="target 'onnx_qdq' needs calibration"):
        mxquant.quantize(symbol, target="onnx_qdq", method=None, **params)


def test_without_the_package_onnx_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return original(name, *args)

    symbol, params, _ = network()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LoweringError, match=r"pip install 'mxquant\[onnx\]'"):
        mxquant.export_onnx(symbol, input_shapes=DATA.shape, **params)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Any) -> None:
    symbol, params, _ = network()
    with pytest.raises(OutputError, match="cannot write"):
        mxquant.export_onnx(symbol, tmp_path / "no" / "net.onnx", input_shapes=DATA.shape, **params)
    mxquant.export_onnx(symbol, tmp_path / "net.onnx", input_shapes=DATA.shape, **params)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
