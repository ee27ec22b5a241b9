"""Code written for the private names of mxnet.contrib.quantization, 1.7 to 1.9.1, runs and gets right numbers here."""

from __future__ import annotations

import inspect
import logging
import warnings
from typing import Any, Dict, Tuple

import numpy as np
import pytest

from mxquant import InputError, NonFiniteError
from mxquant import quantization as ours
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, graph_of
from tests.networks import conv, dense, images, random_params, relu, sqnr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mxnet.contrib import quantization as stock

SHAPE = (8, 3, 12, 12)
SAME_ARGUMENTS = (
    "_quantize_params",
    "_quantize_symbol",
    "_get_optimal_thresholds",
    "_calibrate_quantized_sym",
    "_collect_layer_statistics",
    "_LayerOutputMinMaxCollector",
    "_LayerHistogramCollector",
)


def network(norm: bool = True) -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
    x = conv(mx.sym.var("data"), "c1")
    x = relu(mx.sym.BatchNorm(x, fix_gamma=False, name="bn") if norm else x, "act")
    x = mx.sym.Pooling(relu(conv(x, "c2"), "act2"), global_pool=True, kernel=(2, 2), pool_type="avg", name="pool")
    symbol = mx.sym.SoftmaxOutput(dense(x, "fc"), name="softmax")
    return (symbol, *random_params(symbol, data=SHAPE, softmax_label=SHAPE[:1]))


def bound(symbol: Any, args: Dict[str, Any], aux: Dict[str, Any]) -> Any:
    module = mx.mod.Module(symbol, label_names=["softmax_label"])
    module.bind([("data", (4, *SHAPE[1:]))], [("softmax_label", (4,))], for_training=False)
    module.set_params(args, aux)
    return module


def iterator(data: np.ndarray) -> Any:
    return mx.io.NDArrayIter(data, np.zeros(len(data)), batch_size=4)


def predictions(symbol: Any, args: Dict[str, Any], aux: Dict[str, Any], data: np.ndarray) -> np.ndarray:
    return bound(symbol, args, aux).predict(iterator(data)).asnumpy()


def test_arguments_have_the_order_of_mxnet() -> None:
    for name in SAME_ARGUMENTS:
        mine, theirs = (list(inspect.signature(getattr(each, name)).parameters) for each in (ours, stock))
        assert mine == theirs, name


@pytest.mark.parametrize("kind", ["naive", "entropy"])
@pytest.mark.parametrize("fused", [False, True])
def test_the_steps_of_quantize_model_by_hand(kind: str, fused: bool) -> None:
    """What people have copied from MXNet's own ``quantize_model``, but for the statistics of BatchNorms."""
    sym, args, aux = network()
    data, logger = images(*SHAPE), logging.getLogger("by hand")
    bound_symbol = sym.get_backend_symbol("MKLDNN_QUANTIZE") if fused else sym
    qsym, calib_layer = ours._quantize_symbol(
        bound_symbol,
        mx.cpu(),
        excluded_symbols=[],
        excluded_operators=[],
        offline_params=list(args.keys()),
        quantized_dtype="auto",
        quantize_mode="full",
    )
    assert isinstance(qsym, mx.sym.Symbol) and not set(calib_layer) & set(args)
    module = bound(bound_symbol, args, aux)
    if kind == "naive":
        collector = ours._LayerOutputMinMaxCollector(quantized_dtype="auto", include_layer=calib_layer, logger=logger)
        assert ours._collect_layer_statistics(module, iterator(data), collector, None, logger) == 8
        th_dict = collector.min_max_dict
    else:
        counting = ours._LayerHistogramCollector(include_layer=calib_layer, logger=logger)
        assert ours._collect_layer_statistics(module, iterator(data), counting, max_num_examples=4) == 4
        th_dict = ours._get_optimal_thresholds(counting.hist_dict, "auto", logger=logger)
    qsym = ours._calibrate_quantized_sym(qsym, th_dict)
    qparams = ours._quantize_params(qsym, {**args, **aux}, th_dict)
    operators = [node.op for node in graph_of(qsym).operators]
    assert operators.count("_sg_mkldnn_conv") == 2 and "_contrib_requantize" not in operators
    found = predictions(qsym.get_backend_symbol("MKLDNN_QUANTIZE"), qparams, aux, data)
    assert sqnr(predictions(sym, args, aux, data), found) > (30 if kind == "naive" else 15)
    if kind == "naive":
        public = ours.quantize_model(sym, args, aux, calib_mode="naive", calib_data=data, quantized_dtype="auto")
        assert sqnr(predictions(*public, data), found) > 40


def test_ranges_may_come_with_the_parameters_or_not_at_all() -> None:
    sym, args, aux = network(norm=False)
    data = images(*SHAPE)
    collector = ours._LayerOutputMinMaxCollector("auto")
    ours._collect_layer_statistics(bound(sym, args, aux), iterator(data), collector)
    reference = predictions(sym, args, aux, data)
    for ranges in (collector.min_max_dict, {}, None):
        qsym, _ = ours._quantize_symbol(sym, mx.cpu())
        assert ours._calibrate_quantized_sym(qsym, None) is qsym
        qparams = ours._quantize_params(qsym, args, ranges)
        assert sqnr(reference, predictions(qsym, qparams, {}, data)) > 30
        calibrated = any("max_calib_range" in node.attrs for node in graph_of(qsym).operators)
        assert calibrated == bool(ranges)


@pytest.mark.parametrize(
    "options, int8", [({}, 3), ({"excluded_symbols": ["c1"]}, 2), ({"excluded_operators": ["Convolution"]}, 1)]
)
def test_exclusions_hold(options: Dict[str, Any], int8: int) -> None:
    sym, args, _ = network(norm=False)
    args["fc_bias"][:] = 0  # without calibration a FullyConnected with a bias stays float32
    qsym, _ = ours._quantize_symbol(sym, mx.cpu(), **options)
    ours._quantize_params(qsym, args, {})
    assert sum(node.attrs.get("quantized", "").lower() == "true" for node in graph_of(qsym).operators) == int8


def test_a_pending_symbol_is_the_fp32_network_and_survives_it() -> None:
    sym, args, aux = network()
    before = sym.tojson()
    qsym, _ = ours._quantize_symbol(sym, mx.cpu(), offline_params=list(args))
    assert graph_of(qsym).operators[0].op == "Convolution" and qsym.list_arguments() == sym.list_arguments()
    del sym
    ours._quantize_params(qsym, {**args, **aux}, {})
    assert qsym.network.tojson() == before and qsym.list_outputs() == ["softmax_output"]


def test_what_is_missing_or_another_is_named() -> None:
    sym, args, aux = network()
    qsym, _ = ours._quantize_symbol(sym, mx.cpu())
    with pytest.raises(InputError, match=r"'bn_moving_mean' is missing; pass \{\*\*arg_params, \*\*aux_params\}"):
        ours._quantize_params(qsym, args, {})
    with pytest.raises(InputError, match="qsym: found Symbol, expected what _quantize_symbol returned"):
        ours._quantize_params(sym, args, {})
    with pytest.raises(InputError, match="qsym: found Symbol"):
        ours._calibrate_quantized_sym(sym, {"data": (0, 1)})
    for options, message in {
        "quantized_dtype": "quantized_dtype is 'x', expected one of 'int8'",
        "quantize_mode": "quantize_mode is 'x'",
        "excluded_symbols": "excluded_symbols is 'x', expected a list",
    }.items():
        with pytest.raises(InputError, match=message):
            ours._quantize_params(ours._quantize_symbol(sym, mx.cpu(), **{options: "x"})[0], {**args, **aux}, {})
    with pytest.raises(InputError, match="excluded_symbols: no layer is called 'nothing'"):
        qsym, _ = ours._quantize_symbol(sym, mx.cpu(), excluded_symbols=["nothing"])
        ours._quantize_params(qsym, {**args, **aux}, {})
    with pytest.raises(InputError, match="data: found list, expected a DataIter"):
        ours._collect_layer_statistics(bound(sym, args, aux), [], ours._LayerOutputCollector())


def collected(module: Any, *collectors: Any, data: np.ndarray) -> None:
    for collector in collectors:
        ours._collect_layer_statistics(module, iterator(data), collector)


def test_collectors_collect_what_mxnet_s_do() -> None:
    sym, args, aux = network()
    names = ["data", "act_output", "fc_output"]
    with environment(MXNET_SUBGRAPH_BACKEND="NONE"):
        module = bound(sym, args, aux)
    data = images(*SHAPE) * np.linspace(1, 2, 8, dtype=np.float32).reshape(-1, 1, 1, 1)
    mine = ours._LayerOutputMinMaxCollector("auto", names), ours._LayerHistogramCollector(include_layer=names)
    theirs = stock._LayerOutputMinMaxCollector("auto", names), stock._LayerHistogramCollector(include_layer=names)
    collected(module, *mine, *theirs, data=data)
    assert mine[0].min_max_dict == theirs[0].min_max_dict == mine[1].min_max_dict
    assert set(mine[1].hist_dict) == set(names)
    for name, (counts, edges, low, high, th) in mine[1].hist_dict.items():
        other = theirs[1].hist_dict[name]
        np.testing.assert_array_equal(counts, other[0])
        np.testing.assert_allclose(edges, other[1], rtol=1e-6, atol=1e-6)
        assert (low, high) == other[2:4] and th == pytest.approx(other[4], rel=1e-6)


def test_outputs_are_kept_as_they_are() -> None:
    sym, args, aux = network()
    collector = ours._LayerOutputCollector(include_layer=["data", "pool_output"])
    data = images(*SHAPE)
    collected(bound(sym, args, aux), collector, data=data)
    assert {name: len(arrays) for name, arrays in collector.nd_dict.items()} == {"data": 2, "pool_output": 2}
    np.testing.assert_array_equal(np.concatenate([each.asnumpy() for each in collector.nd_dict["data"]]), data)


def test_zeros_and_nan_are_told_apart() -> None:
    sym, args, aux = network()
    module = bound(sym, args, aux)
    collector = ours._LayerHistogramCollector(num_bins=101, include_layer=["data"])
    collected(module, collector, data=np.zeros(SHAPE, np.float32))
    collected(module, collector, data=images(*SHAPE))
    counts, _, low, high, th = collector.hist_dict["data"]
    assert counts.sum() == 2 * np.prod(SHAPE) and counts.size == 101 and th == max(-low, high)
    bad = images(*SHAPE)
    bad[0, 0, 0, 0] = np.nan
    for broken in (ours._LayerHistogramCollector(), ours._LayerOutputMinMaxCollector("int8")):
        with pytest.raises(NonFiniteError, match="tensor 'data'"):
            collected(module, broken, data=bad)


def test_examples_that_fill_up_a_batch_do_not_count() -> None:
    sym, args, aux = network()
    found = ours._collect_layer_statistics(
        bound(sym, args, aux), iterator(images(*SHAPE)[:6]), ours._LayerOutputMinMaxCollector("int8")
    )
    assert found == 6


def test_the_collectors_serve_quantize_net_and_quantize_graph() -> None:
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(8, 3, activation="relu"), mx.gluon.nn.Dense(4))
    net.initialize(mx.init.Xavier())
    data = mx.nd.array(images(*SHAPE))
    reference = net(data).asnumpy()
    for collector in (ours._LayerOutputMinMaxCollector("auto"), ours._LayerHistogramCollector()):
        quantized = ours.quantize_net_v2(
            net, calib_mode="customize", calib_data=[data], LayerOutputCollector=collector, ctx=mx.cpu()
        )
        assert sqnr(reference, quantized(data).asnumpy()) > 30


def histogram(values: np.ndarray, bins: int = 8001) -> Tuple[Any, Any, float, float, float]:
    largest = max(abs(values.min()), abs(values.max()))
    counts, edges = np.histogram(values, bins=bins, range=(-largest, largest))
    return counts, edges, values.min(), values.max(), largest


@pytest.mark.parametrize("dtype", ["int8", "uint8", "auto"])
@pytest.mark.parametrize("low", [-10.532, 0.0])
def test_thresholds_of_uniform_values_are_their_ends(dtype: str, low: float) -> None:
    values = np.random.RandomState(0).uniform(low, 11.3432, size=20_000)
    mine, theirs = (each._get_optimal_thresholds({"layer1": histogram(values)}, dtype) for each in (ours, stock))
    assert list(mine) == list(theirs) == ["layer1"]
    np.testing.assert_allclose(mine["layer1"][1], 11.3432, rtol=1e-2)
    np.testing.assert_allclose(mine["layer1"][1], np.ravel(theirs["layer1"][1])[0], rtol=1e-2)
    assert mine["layer1"][0] == (0 if low == 0 and dtype != "int8" else -mine["layer1"][1])


@pytest.mark.parametrize("dtype", ["int8", "auto"])
def test_one_threshold_in_the_form_of_1_9(dtype: str) -> None:
    values = np.abs(np.random.RandomState(0).standard_normal(20_000)).astype(np.float32)
    mine, theirs = (each._get_optimal_threshold(histogram(values), dtype) for each in (ours, stock))
    assert mine[:2] == theirs[:2] == (values.min(), values.max())
    assert [each.shape for each in mine[2:]] == [each.shape for each in theirs[2:]] == [(1,), (1,)]
    np.testing.assert_allclose(mine[2], theirs[2], rtol=0.05)
    assert ours._get_optimal_threshold(hist_data=histogram(values), quantized_dtype=dtype)[2] == mine[2]


def test_one_threshold_in_the_form_of_1_3() -> None:
    values = np.random.RandomState(0).standard_normal(20_000).astype(np.float32)
    low, high, divergence, threshold = ours._get_optimal_threshold(values)
    found = ours._get_optimal_threshold(histogram(values), "int8")
    assert (low, high) == (values.min(), values.max())
    assert (found[2][0], found[3][0]) == pytest.approx((threshold, divergence), rel=1e-6)
    for other in (
        ours._get_optimal_threshold(values, 8001, 255),
        ours._get_optimal_threshold(values, num_bins=8001, num_quantized_bins=255),
        ours._get_optimal_threshold(arr=[values]),
        ours._get_optimal_threshold([mx.nd.array(values)]),
    ):
        assert other == (low, high, divergence, threshold)


def test_what_is_no_histogram_is_refused() -> None:
    with pytest.raises(InputError, match="hist_data has 2 parts, expected 5: counts, edges"):
        ours._get_optimal_threshold((np.ones(3), np.arange(4)), "int8")
    with pytest.raises(InputError, match="quantized_dtype is 'int4'"):
        ours._get_optimal_threshold(histogram(np.ones(10)), "int4")
    with pytest.raises(InputError, match=r"hist_dict\['x'\] is list"):
        ours._get_optimal_thresholds({"x": [1.0]}, "int8")
    with pytest.raises(TypeError, match="unexpected argument 'bins'"):
        ours._get_optimal_threshold(np.ones(3), bins=5)
