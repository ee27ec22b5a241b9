"""The drop-in functions: MXNet 1.9.1's arguments, and its traps that are none here."""

from __future__ import annotations

import ctypes
import inspect
import subprocess
import sys
import warnings
from typing import Any, Dict, Tuple

import numpy as np
import pytest

from mxquant import InputError
from mxquant import quantization as ours
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mxnet.contrib import quantization as stock

SHAPE = (8, 3, 12, 12)
# In dB. With as few values as here the entropy search clips much: most of its 8,001 bins are empty.
FLOORS = {"none": 30, "naive": 30, "minmax": 30, "percentile": 30, "mse": 30, "entropy": 15, "customize": 28}
FUNCTIONS = (
    "quantize_model",
    "quantize_model_mkldnn",
    "quantize_graph",
    "calib_graph",
    "quantize_net",
    "quantize_net_v2",
)


def network() -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
    x = relu(mx.sym.BatchNorm(conv(mx.sym.var("data"), "c1", no_bias=True), name="bn"), "act")
    x = relu(conv(x, "c2") + x, "act2")
    symbol = mx.sym.SoftmaxOutput(
        dense(mx.sym.Pooling(x, global_pool=True, kernel=(2, 2), name="pool"), "fc"), name="softmax"
    )
    args, aux = random_params(symbol, data=SHAPE, softmax_label=SHAPE[:1])
    return symbol, args, aux


def iterator(data: Any) -> Any:
    return mx.io.NDArrayIter(data, np.zeros(len(data)), batch_size=4)


def run(symbol: Any, args: Any, aux: Any, data: Any) -> np.ndarray:
    """Run as most users do: by a Module, labels and all."""
    module = mx.mod.Module(symbol, label_names=["softmax_label"])
    module.bind([("data", data.shape)], [("softmax_label", data.shape[:1])], for_training=False)
    module.set_params(args, aux)
    module.forward(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.zeros(len(data))]), is_train=False)
    return module.get_outputs()[0].asnumpy()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_those_of_mxnet(name: str) -> None:
    mine, theirs = (inspect.signature(getattr(module, name)).parameters for module in (ours, stock))
    assert list(mine) == list(theirs)
    for argument, parameter in theirs.items():
        if argument not in ("ctx", "logger"):
            assert mine[argument].default == parameter.default


@pytest.mark.parametrize("function", [ours.quantize_model, ours.quantize_model_mkldnn])
@pytest.mark.parametrize("calib_mode", ["none", "naive", "minmax", "entropy", "percentile", "mse"])
def test_quantize_model(function: Any, calib_mode: str) -> None:
    symbol, args, aux = network()
    data = images(*SHAPE)
    quantized = function(symbol, args, aux, calib_mode=calib_mode, calib_data=iterator(data))
    assert sqnr(run(symbol, args, aux, data), run(*quantized, data)) >= FLOORS[calib_mode]
    assert quantized[0].list_outputs() == ["softmax_output"]


def test_the_cpu_never_gets_the_unfused_operators() -> None:
    symbol, args, aux = network()
    quantized, _, _ = ours.quantize_model(symbol, args, aux, ctx=mx.cpu(), calib_data=iterator(images(*SHAPE)))
    operators = {node.op for node in graph_of(quantized).operators}
    assert "_sg_mkldnn_conv" in operators
    assert not operators & {"_contrib_quantized_conv", "_contrib_quantized_fully_connected", "BatchNorm"}


def test_every_range_is_calibrated() -> None:
    symbol, args, aux = network()
    quantized, _, _ = ours.quantize_model(symbol, args, aux, calib_data=iterator(images(*SHAPE)), quantize_mode="full")
    for node in graph_of(quantized).operators:
        if node.op in ("_contrib_quantize_v2", "_contrib_requantize"):
            assert {"min_calib_range", "max_calib_range"} <= set(node.attrs)


def test_ranges_keep_all_their_digits() -> None:
    symbol, args, aux = network()
    data = images(*SHAPE) * 1e-7
    quantized, _, _ = ours.quantize_model(symbol, args, aux, calib_mode="naive", calib_data=iterator(data))
    threshold = float(graph_of(quantized).find("data_quantize").attrs["max_calib_range"])
    assert np.float32(threshold) == np.abs(data).max()


def test_shapes_alone_are_enough_to_bind() -> None:
    symbol, args, aux = network()
    quantized, _, _ = ours.quantize_model(symbol, args, aux, calib_data=iterator(images(*SHAPE)))
    executor = quantized.simple_bind(mx.cpu(), data=SHAPE, grad_req="null")
    assert executor.arg_dict["data"].dtype == np.float32


def test_uint8_with_negative_data() -> None:
    symbol, args, aux = network()
    data = images(*SHAPE)
    quantized = ours.quantize_model(
        symbol, args, aux, calib_mode="naive", calib_data=iterator(data), quantized_dtype="uint8"
    )
    assert sqnr(run(symbol, args, aux, data), run(*quantized, data)) >= 30


def test_parameters_of_any_name_are_quantized_offline() -> None:
    symbol = dense(mx.sym.var("data"), "fc", weight=mx.sym.var("w0"), bias=mx.sym.var("b0"))
    args, aux = random_params(symbol, data=(8, 16))
    data = images(8, 16)
    quantized = ours.quantize_model(symbol, args, aux, calib_mode="naive", calib_data=data, label_names=None)
    assert {"w0_quantize", "b0_quantize"} <= set(quantized[1])
    (reference,), (result,) = forward(symbol, args, aux, data=data), forward(*quantized, data=data)
    assert sqnr(reference, result) >= 35


def test_a_large_bias_spoils_no_weights() -> None:
    symbol = dense(mx.sym.var("data"), "fc")
    args, aux = random_params(symbol, data=(8, 16))
    args["fc_bias"][:] = 1e4
    args["fc_weight"] *= 1e-3
    data = images(8, 16) * 1e-3
    quantized = ours.quantize_model(symbol, args, aux, calib_mode="naive", calib_data=data, label_names=None)
    before = {name: value.asnumpy() for name, value in quantized[1].items()}
    first, second = (forward(*quantized, data=data)[0] for _ in range(2))
    for name, value in quantized[1].items():
        np.testing.assert_array_equal(value.asnumpy(), before[name])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, forward(symbol, args, aux, data=data)[0], rtol=1e-6)


def test_a_batch_of_zeros_spoils_no_weights() -> None:
    symbol = dense(mx.sym.var("data"), "fc")
    args, aux = random_params(symbol, data=(8, 16))
    data = images(8, 16)
    for mode in ("none", "naive"):
        quantized = ours.quantize_model(symbol, args, aux, calib_mode=mode, calib_data=data, label_names=None)
        forward(*quantized, data=np.zeros_like(data))
        assert sqnr(forward(symbol, args, aux, data=data)[0], forward(*quantized, data=data)[0]) >= 35


def test_no_batch_norm_is_left_inside_a_convolution() -> None:
    symbol, args, aux = network()
    quantized, _, _ = ours.quantize_model(symbol, args, aux, calib_data=iterator(images(*SHAPE)))
    for node in graph_of(quantized).operators:
        assert not any(inner.op == "BatchNorm" for graph in node.subgraphs for inner in graph.operators)


def test_entropy_needs_no_scipy() -> None:
    script = (
        "import sys; sys.modules['scipy'] = None\n"
        "from tests.test_quantization import *\n"
        "ours.quantize_model(*network(), calib_mode='entropy', calib_data=iterator(images(*SHAPE)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_symbol_may_be_a_file(tmp_path: Any) -> None:
    symbol, args, aux = network()
    path = str(tmp_path / "net-symbol.json")
    symbol.save(path)
    from_file, _, _ = ours.quantize_model(path, args, aux, calib_data=iterator(images(*SHAPE)))
    assert from_file.list_outputs() == ["softmax_output"]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("calib_mode", ["naive", "entropy", "customize"])
def test_quantize_graph_and_calib_graph(calib_mode: str, fused: bool) -> None:
    symbol, args, aux = network()
    bound = symbol.get_backend_symbol("MKLDNN_QUANTIZE") if fused else symbol
    data = images(*SHAPE)
    own = Ranges() if calib_mode == "customize" else None
    quantized, qargs, qaux, collector = ours.quantize_graph(
        bound, args, aux, calib_mode=calib_mode, quantized_dtype="auto", LayerOutputCollector=own
    )
    assert sqnr(run(symbol, args, aux, data), run(quantized, qargs, qaux, data)) >= 28
    module = mx.mod.Module(bound, label_names=["softmax_label"])
    module.bind([("data", data.shape)], [("softmax_label", data.shape[:1])], for_training=False)
    module.set_params(args, aux)
    module._exec_group.execs[0].set_monitor_callback(collector.collect, monitor_all=True)
    module.forward(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.zeros(len(data))]), is_train=False)
    module.get_outputs()[0].wait_to_read()
    calibrated = ours.calib_graph(quantized, args, aux, collector, calib_mode=calib_mode, quantized_dtype="auto")
    operators = [node.op for node in graph_of(calibrated[0]).operators]
    assert "_contrib_requantize" not in operators
    assert operators.count("_sg_mkldnn_conv") == 2
    assert sqnr(run(symbol, args, aux, data), run(*calibrated, data)) >= FLOORS[calib_mode]
    assert collector.min_max_dict["data"] == (data.min(), data.max())


class Ranges:
    """A collector of the user's own."""

    def __init__(self) -> None:
        self.min_max_dict: Dict[str, Tuple[float, float]] = {}

    def collect(self, name: bytes, handle: Any) -> None:
        array = mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False).asnumpy()
        self.min_max_dict[name.decode()] = (array.min(), array.max())


def test_a_collector_that_saw_nothing_is_refused() -> None:
    symbol, args, aux = network()
    quantized, _, _, collector = ours.quantize_graph(symbol, args, aux)
    with pytest.raises(InputError, match="it has seen no tensor of the network; set it as monitor callback"):
        ours.calib_graph(quantized, args, aux, collector)
    with pytest.raises(InputError, match="collector: found Ranges, expected the one that quantize_graph returned"):
        ours.calib_graph(quantized, args, aux, Ranges())
    with pytest.raises(InputError, match="use the network of quantize_graph"):
        ours.calib_graph(quantized, args, aux, collector, calib_mode="none")


def test_a_collector_that_saw_nan_says_so() -> None:
    symbol, args, aux = network()
    quantized, _, _, collector = ours.quantize_graph(symbol, args, aux)
    data = mx.nd.array(np.full(SHAPE, np.nan))
    executor = symbol.bind(mx.cpu(), {**args, "data": data, "softmax_label": mx.nd.zeros(8)}, aux_states=aux)
    executor.set_monitor_callback(collector.collect, monitor_all=True)
    executor.forward(is_train=False)
    mx.nd.waitall()
    with pytest.raises(RuntimeError, match="tensor 'data': 3456 of 3456 values are NaN or infinite"):
        ours.calib_graph(quantized, args, aux, collector)


class TwoInputs(mx.gluon.HybridBlock):
    """Two inputs, nested outputs."""

    def __init__(self) -> None:
        super().__init__(prefix="two_")
        with self.name_scope():
            self.conv = mx.gluon.nn.Conv2D(8, 3)
            self.one, self.other = mx.gluon.nn.Dense(5), mx.gluon.nn.Dense(4)

    def hybrid_forward(self, F: Any, a: Any, b: Any) -> Any:
        x, y = F.relu(self.conv(a)), F.relu(self.conv(b))
        return self.one(x), [self.other(y), self.other(x)]


@pytest.fixture
def block() -> Any:
    mx.random.seed(0)
    net = TwoInputs()
    net.initialize(mx.init.Xavier())
    net(*inputs())
    return net


def inputs() -> Tuple[Any, Any]:
    return mx.nd.array(images(*SHAPE, seed=1)), mx.nd.array(images(*SHAPE, seed=2))


def assert_same_form(expected: Any, actual: Any, floor: float) -> None:
    if isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected)
        for e, a in zip(expected, actual):
            assert_same_form(e, a, floor)
        return
    assert sqnr(expected.asnumpy(), actual.asnumpy()) >= floor


@pytest.mark.parametrize("function", [ours.quantize_net, ours.quantize_net_v2])
@pytest.mark.parametrize("calib_mode", ["naive", "entropy", "none"])
def test_a_block_with_two_inputs_no_label_and_nested_outputs(block: Any, calib_mode: str, function: Any) -> None:
    a, b = inputs()
    loader = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(a, b), batch_size=4)
    shapes = [mx.io.DataDesc("a", a.shape), mx.io.DataDesc("b", b.shape)]
    quantized = function(block, calib_mode=calib_mode, calib_data=loader, data_shapes=shapes)
    assert isinstance(quantized, mx.gluon.SymbolBlock)
    assert_same_form(block(a, b), quantized(a, b), 25)
    quantized.hybridize(static_alloc=True, static_shape=True)
    assert_same_form(block(a, b), quantized(a, b), 25)


def test_a_block_is_calibrated_by_a_collector_of_ones_own(block: Any) -> None:
    a, b = inputs()
    quantized = ours.quantize_net_v2(block, calib_mode="customize", calib_data=[(a, b)], LayerOutputCollector=Ranges())
    assert_same_form(block(a, b), quantized(a, b), 25)


def test_layers_of_a_block_are_excluded(block: Any) -> None:
    data = [inputs()]

    everything = ours.quantize_net_v2(block, calib_mode="naive", calib_data=data)
    count = len(dense_operators(everything))
    assert count == 3
    for options in ({"exclude_layers": ["two_dense0_fwd"]}, {"exclude_layers_match": ["dense0"]}):
        without = ours.quantize_net_v2(block, calib_mode="naive", calib_data=data, **options)
        assert len(dense_operators(without)) == 2
    nothing = ours.quantize_net_v2(block, calib_mode="naive", calib_data=data, exclude_operators=["FullyConnected"])
    assert not dense_operators(nothing)


def dense_operators(block: Any) -> list:
    nodes = graph_of(block._cached_graph[1]).operators
    return [n for n in nodes if n.op == "_sg_mkldnn_fully_connected" and n.attrs.get("quantized") == "True"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"calib_mode": "kl"}, "calib_mode is 'kl', expected one of 'none', 'naive'"),
        ({"calib_data": None}, "calib_data is None, but calib_mode='entropy' needs examples"),
        ({"ctx": mx.gpu(0)}, r"ctx is gpu\(0\), but .*; use ctx=mx.cpu\(\)"),
        ({"ctx": [mx.cpu()]}, "expected one mxnet.Context"),
        ({"excluded_sym_names": "fc"}, "excluded_sym_names is 'fc', expected a list of names"),
        ({"excluded_op_names": [3]}, r"excluded_op_names is \[3\], expected a list of names"),
        ({"excluded_sym_names": ["nothing"]}, "no layer is called 'nothing'"),
        ({"quantized_dtype": "int4"}, "dtype is 'int4'"),
        ({"quantize_granularity": "row"}, "granularity is 'row'"),
    ],
)
def test_bad_arguments_are_named(options: Any, message: str) -> None:
    symbol, args, aux = network()
    with pytest.raises(InputError, match=message):
        ours.quantize_model(symbol, args, aux, **{"calib_data": iterator(images(*SHAPE)), **options})


def test_customize_needs_a_collector(block: Any) -> None:
    with pytest.raises(InputError, match="calib_mode='customize' needs one"):
        ours.quantize_net_v2(block, calib_mode="customize", calib_data=[inputs()])
    with pytest.raises(InputError, match="calib_mode='customize' needs one"):
        ours.quantize_graph(*network(), calib_mode="customize")


def test_a_logger_is_told_what_was_done(caplog: Any) -> None:
    import logging

    caplog.set_level(logging.DEBUG)
    symbol, args, aux = network()
    logger = logging.getLogger("quantization")
    ours.quantize_model(symbol, args, aux, calib_data=iterator(images(*SHAPE)), logger=logger)
    assert "layers run in int8" in caplog.text
    assert "softmax (SoftmaxOutput) stays float32: MXNet has no int8 SoftmaxOutput on the CPU" in caplog.text
