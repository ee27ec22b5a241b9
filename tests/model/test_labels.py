"""Labels of any form: calibration needs none, and the int8 network binds with them as the fp32 network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant.doctor import diagnose
from mxquant.graph.labels import cut_labels
from mxquant.model import load
from mxquant.quantization import quantize_model
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import dense, forward, images, random_params, sqnr

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
    assert set(model.symbol.list_arguments()) == set(symbol.list_arguments())
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
    assert set(model.symbol.list_arguments()) == {"data", "pred_weight", "pred_bias"}
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


def test_a_label_whose_shape_does_not_follow_is_told() -> None:
    scores = dense(S.var("data"), "pred", 6)
    symbol = S.MakeLoss(-S.pick(S.log_softmax(scores), S.Reshape(S.var("label"), shape=(-1,))))
    with pytest.raises(
        InputError, match="the shape of 'label', which has no data, does not follow from .* without its"
    ):
        mxquant.quantize(symbol, images(ROWS, 12), arg_params=_args())
