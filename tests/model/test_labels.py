"""Labels of any form: calibration needs none, and the int8 network binds with them as the fp32 network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant.analysis.predictor import Predictor
from mxquant.doctor import diagnose
from mxquant.graph.labels import cut_labels
from mxquant.model import load
from mxquant.quantization import quantize_model
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, dense, forward, images, network_of, own, random_params, relu, sqnr

S = mx.sym
ROWS = 16


def heads(label: Any) -> Any:
    """Return networks of each kind of loss; the label goes through `label`."""
    data = S.var("data")
    scores, values = dense(data, "pred", 6), S.Reshape(dense(data, "pred", 6), shape=(-1,))
    return {
        "SoftmaxOutput": S.SoftmaxOutput(scores, label, name="softmax"),
        "SVMOutput": S.SVMOutput(scores, label, name="svm"),
        "LinearRegressionOutput": S.LinearRegressionOutput(values, label, name="linear"),
        "LogisticRegressionOutput": S.LogisticRegressionOutput(values, label, name="logistic"),
        "MAERegressionOutput": S.MAERegressionOutput(values, label, name="mae"),
    }


def language_model(steps: int = 5) -> Any:
    """Return MXNet's example of a language model: tokens, LSTM, scores of all steps in one row after the other."""
    data = S.Embedding(S.var("data"), input_dim=40, output_dim=12, name="embed")
    cell = mx.rnn.LSTMCell(16, prefix="lstm_")
    outputs, _ = cell.unroll(steps, inputs=data, merge_outputs=True, layout="NTC")
    pred = dense(S.Reshape(outputs, shape=(-1, 16)), "pred", 40)
    label = S.Reshape(S.var("softmax_label"), shape=(-1,))
    return S.SoftmaxOutput(pred, label, name="softmax")


def bound(symbol: Any, args: Any, data: Any, label: Any) -> Any:
    """Return what a Module computes, which binds data and label."""
    iterator = mx.io.NDArrayIter(data, label, batch_size=len(data))
    module = mx.mod.Module(symbol)
    module.bind(iterator.provide_data, iterator.provide_label, for_training=False)
    module.set_params(args, {})
    module.forward(next(iterator), is_train=False)
    return module.get_outputs()[0].asnumpy()


@pytest.mark.parametrize("kind", heads(S.var("softmax_label")))
@pytest.mark.parametrize("form", ["plain", "reshaped", "computed"])
def test_a_loss_is_what_it_is_without_a_label(kind: str, form: str, tmp_path: Path) -> None:
    variable = S.var("softmax_label")
    label = {"plain": variable, "reshaped": S.Reshape(variable, shape=(-1,)), "computed": S.sum(variable, axis=1) * 2}
    symbol = heads(label[form])[kind]
    args, _ = random_params(dense(S.var("data"), "pred", 6), data=(ROWS, 12))
    data = images(ROWS, 12)
    rows = ROWS * (6 if "Regression" in kind else 1)
    labels = np.zeros((rows, 2) if form == "computed" else (rows,) if form == "plain" else (rows // 2, 2), np.float32)
    (expected,) = forward(symbol, args, {}, data=data, softmax_label=labels)
    iterator = mx.io.NDArrayIter(data, np.zeros(ROWS), batch_size=8)
    model = mxquant.quantize(symbol, iterator, arg_params=args)
    assert model.inputs == ("data",)
    assert own(model.symbol.list_arguments()) == set(symbol.list_arguments())
    assert sqnr(expected, forward(model.symbol, model.arg_params, {}, data=data, softmax_label=labels)[0]) >= 35
    assert sqnr(expected, model.as_block()(mx.nd.array(data)).asnumpy()) >= 35
    model.save(tmp_path / "int8")
    loaded = mxquant.load(tmp_path / "int8")
    assert sqnr(expected, loaded.as_block()(mx.nd.array(data)).asnumpy()) >= 35
    comparison = mxquant.compare(symbol, loaded, data, arg_params=args)
    assert comparison.outputs[0].int8_sqnr is not None and comparison.outputs[0].int8_sqnr >= 35


def test_a_language_model_binds_with_its_labels_as_in_fp32(tmp_path: Path) -> None:
    symbol = language_model()
    data = np.random.RandomState(0).randint(0, 40, (ROWS, 5)).astype(np.float32)
    label = np.roll(data, -1, axis=1)
    args, _ = random_params(symbol, data=data.shape, softmax_label=label.shape)
    expected = bound(symbol, args, data, label)
    model = mxquant.quantize(symbol, mx.io.NDArrayIter(data, label, batch_size=8), arg_params=args)
    model.save(tmp_path / "int8")
    loaded, loaded_args, _ = mx.model.load_checkpoint(str(tmp_path / "int8"), 0)
    for found in (bound(loaded, loaded_args, data, label), model.as_block()(mx.nd.array(data)).asnumpy()):
        assert found.shape == (ROWS * 5, 40)
        assert sqnr(expected, found) >= 25
    assert mxquant.compare(symbol, model, data, arg_params=args).outputs[0].sqnr >= 25
    top = (data, expected.argmax(axis=1))
    with pytest.raises(InputError, match="16 examples, but 80 labels"):
        mxquant.quantize(symbol, data, arg_params=args, metric=top, max_drop=0.1)


def test_the_functions_of_mxnet_keep_the_label() -> None:
    symbol = heads(S.Reshape(S.var("softmax_label"), shape=(-1,)))["SoftmaxOutput"]
    args, _ = random_params(dense(S.var("data"), "pred", 6), data=(ROWS, 12))
    data = images(ROWS, 12)
    iterator = mx.io.NDArrayIter(data, np.zeros((ROWS, 1)), batch_size=8)
    found, found_args, _ = quantize_model(symbol, args, {}, calib_data=iterator, calib_mode="naive")
    expected = bound(symbol, args, data, np.zeros((ROWS, 1)))
    assert sqnr(expected, bound(found, found_args, data, np.zeros((ROWS, 1)))) >= 35


def test_a_metric_and_layers_that_are_not_slower_need_no_label() -> None:
    symbol = heads(S.Reshape(S.var("softmax_label"), shape=(-1,)))["SoftmaxOutput"]
    args, _ = random_params(dense(S.var("data"), "pred", 6), data=(ROWS, 12))
    data = images(ROWS, 12)
    classes = forward(symbol, args, {}, data=data, softmax_label=np.zeros(ROWS, np.float32))[0].argmax(axis=1)
    model = mxquant.quantize(symbol, data, arg_params=args, metric=(data, classes), max_drop=0.5, never_slower=True)
    assert model.mixed_precision is not None and model.mixed_precision.met
    assert mxquant.sensitivity(symbol, data, arg_params=args).all >= 35
    assert diagnose(symbol, data, arg_params=args, int8=model)


def test_a_label_that_is_computed_from_data_is_kept() -> None:
    data = S.var("data")
    symbol = S.LinearRegressionOutput(dense(data, "pred", 12), S.Flatten(data), name="same")
    args, _ = random_params(dense(data, "pred", 12), data=(ROWS, 12))
    model = mxquant.quantize(symbol, images(ROWS, 12), arg_params=args)
    assert own(model.symbol.list_arguments()) == {"data", "pred_weight", "pred_bias"}
    assert model.as_block()(mx.nd.array(images(ROWS, 12))).shape == (ROWS, 12)


def test_a_graph_without_such_labels_is_left_alone() -> None:
    graph = graph_of(heads(S.var("softmax_label"))["SoftmaxOutput"])
    assert cut_labels(graph) is graph
    cut = load(
        heads(S.Reshape(S.var("softmax_label"), shape=(-1,)))["SoftmaxOutput"], label_names=["q"], arg_params=_args()
    )
    assert [node.op for node in cut.canonical.network.graph.operators] == ["FullyConnected", "SoftmaxOutput"]
    assert (cut.inputs, cut.labels) == (("data",), ("softmax_label",))


def _args() -> Any:
    return random_params(dense(S.var("data"), "pred", 6), data=(ROWS, 12))[0]


def written_out(label: Any) -> Any:
    """The loss of MXNet's word-level language model: a number, in which classes have weights."""
    scores = S.log_softmax(dense(relu(dense(S.var("data"), "hidden", 16)), "pred", 6))
    weights = S.take(S.var("class_weights", shape=(6,)), label)
    return S.make_loss(S.mean(-S.pick(scores, label, axis=-1) * weights), name="nll")


def two_heads(label: Any) -> Any:
    """Scores beside a loss, and another loss of a kind that needs no label."""
    hidden = relu(dense(S.var("data"), "hidden", 16))
    scores = dense(hidden, "pred", 6)
    loss = S.MakeLoss(S.sum(S.square(S.softmax(scores) - S.one_hot(label, depth=6)), axis=1), name="squares")
    return S.Group(
        [loss, S.BlockGrad(S.softmax(scores), name="scores"), S.SoftmaxOutput(scores, label, name="softmax")]
    )


def detector(label: Any) -> Any:
    """How SSD is trained: labels and anchors make targets, which losses read beside what is found."""
    data = relu(conv(S.Reshape(S.var("data"), shape=(-1, 3, 8, 8)), "stem"))
    anchors = S.contrib.MultiBoxPrior(data, sizes=(0.2, 0.5), ratios=(1, 2), name="anchors")
    classes = conv(data, "classes", 3 * 4)
    classes = S.Reshape(S.transpose(classes, axes=(0, 2, 3, 1)), shape=(0, -1, 4))
    classes = S.transpose(classes, axes=(0, 2, 1), name="cls_preds")
    places = S.Flatten(S.transpose(conv(data, "places", 3 * 4), axes=(0, 2, 3, 1)), name="loc_preds")
    target = S.contrib.MultiBoxTarget(anchors, S.Reshape(label, shape=(0, -1, 5)), classes, name="target")
    found = S.SoftmaxOutput(classes, target[2], multi_output=True, use_ignore=True, ignore_label=-1, name="cls_prob")
    loss = S.MakeLoss(S.smooth_l1(target[1] * (places - target[0]), scalar=1.0), name="loc_loss")
    return S.Group([found, loss, S.BlockGrad(target[2], name="cls_label")])


@pytest.mark.parametrize("form", ["plain", "reshaped"])
@pytest.mark.parametrize("build", [written_out, two_heads, detector])
def test_a_loss_that_is_written_out_is_cut_for_calibration_and_kept_in_int8(
    build: Any, form: str, tmp_path: Path
) -> None:
    label = S.var("softmax_label")
    symbol = build(S.Reshape(label, shape=(-1,)) if form == "reshaped" and build is not detector else label)
    shape = (ROWS, 3, 8, 8) if build is detector else (ROWS, 12)
    labels = np.arange(ROWS, dtype=np.float32) % 6
    if form == "reshaped":
        labels = labels.reshape(-1, 2)
    if build is detector:
        labels = np.tile(np.array([[1, 0.1, 0.1, 0.6, 0.7]], np.float32), (ROWS, 1, 1)).reshape(ROWS, -1)
    args, _ = random_params(symbol, data=shape, softmax_label=labels.shape)
    data = images(*shape)
    expected = forward(symbol, args, {}, data=data, softmax_label=labels)
    model = mxquant.quantize(symbol, data, arg_params=args)
    model.save(tmp_path / "int8")
    loaded = mxquant.load(tmp_path / "int8")
    for each in (model, loaded):
        assert each.inputs == ("data",)
        assert each.symbol.list_outputs() == symbol.list_outputs()
        assert own(each.symbol.list_arguments()) == set(symbol.list_arguments())
        found = forward(each.symbol, each.arg_params, {}, data=data, softmax_label=labels)
        assert min(sqnr(*pair) for pair in zip(expected, found)) >= 20
        assert each.as_block()(mx.nd.array(data)) is not None
    comparison = mxquant.compare(symbol, loaded, data, arg_params=args)
    assert comparison.outputs
    for output in comparison.outputs:
        assert output.sqnr >= 20 and output.int8_sqnr is not None and output.int8_sqnr >= 20
    names = [output.name for output in comparison.outputs]
    assert not {"nll_output", "squares_output", "loc_loss_output", "cls_label_output"} & set(names)
    plan = mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, arg_params=args), arg_params=args)
    assert any(layer.precision == "int8" for layer in plan.layers.values())
    assert mxquant.sensitivity(symbol, data, arg_params=args).all >= 20
    assert diagnose(symbol, data, arg_params=args, int8=model)
    predictors = [Predictor(symbol, args, {}, fused=True), Predictor(loaded.symbol, loaded.arg_params, {})]
    one, other = (predictor({"data": data}, ROWS) for predictor in predictors)
    assert len(one) == len(comparison.outputs) or build is detector
    assert all(sqnr(*pair) >= 20 for pair in zip(one, other))


def test_a_block_returns_what_the_loss_is_computed_from() -> None:
    symbol = written_out(S.Reshape(S.var("softmax_label"), shape=(-1,)))
    args, _ = random_params(symbol, data=(ROWS, 12), softmax_label=(ROWS, 1))
    data = images(ROWS, 12)
    (expected,) = forward(_scores(symbol), args, {}, data=data)
    model = mxquant.quantize(symbol, data, arg_params=args)
    found = model.as_block()(mx.nd.array(data))
    assert sqnr(expected, found.asnumpy()) >= 30
    classes = expected.argmax(axis=1)
    reached = mxquant.quantize(symbol, data, arg_params=args, metric=(data, classes), max_drop=0.2).mixed_precision
    assert reached is not None and reached.met


def _scores(symbol: Any) -> Any:
    internals = symbol.get_internals()
    return internals[next(name for name in internals.list_outputs() if name.startswith("log_softmax"))]


def test_layers_behind_a_label_may_be_excluded_by_name() -> None:
    symbol = written_out(S.var("softmax_label"))
    args, _ = random_params(symbol, data=(ROWS, 12), softmax_label=(ROWS,))
    model = mxquant.quantize(symbol, images(ROWS, 12), arg_params=args, exclude_layers=["nll", "hidden"])
    assert model.plan.layers["hidden"].precision == "float32"


def test_an_input_whose_shape_does_not_follow_is_told() -> None:
    symbol = S.SoftmaxOutput(S.broadcast_add(dense(S.var("data"), "pred", 6), S.var("soft_label")), name="softmax")
    model = load(symbol, _args(), data_names=["data"], label_names=["nothing"])
    assert model.labels == ("soft_label", "softmax_label")
    network = network_of(symbol, _args(), {})
    with pytest.raises(InputError, match="the shape of 'soft_label', which has no data, does not follow from that of"):
        outputs(network, {"data": images(ROWS, 12)})
