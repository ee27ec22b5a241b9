"""A Pad with zeros goes into the convolution that reads it, which computes the same."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.graph import Network
from mxquant.graph.passes import Canonical, canonicalize
from mxquant.quantization import calib_graph, quantize_graph
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol
from tests.networks import dense, forward, images, network_of, random_params, sqnr

SHAPE = (2, 4, 11, 12)


def padded(widths: Tuple[int, ...], data: Any = None, mode: str = "constant", **attrs: Any) -> Any:
    """Return data with zeros above, below, left and right."""
    data = mx.sym.var("data") if data is None else data
    return mx.sym.pad(data, mode=mode, pad_width=(0, 0, 0, 0, *widths), name="pad", **attrs)


def convolved(x: Any, **attrs: Any) -> Any:
    return mx.sym.Convolution(x, **{"num_filter": 8, "kernel": (3, 3), "name": "c", **attrs})


def made(symbol: Any, shape: Tuple[int, ...] = SHAPE) -> Tuple[Canonical, Dict[str, Any], np.ndarray]:
    data = images(*shape)
    args, _ = random_params(symbol, data=shape)
    return canonicalize(network_of(symbol, args, {})), args, data


def operators(network: Network) -> list:
    return [node.op for node in network.graph.operators]


def run(network: Network, data: np.ndarray) -> np.ndarray:
    from mxquant.runtime.forward import outputs

    return outputs(network, {"data": data})[0]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    before=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    more=st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    kernel=st.sampled_from([(3, 3), (5, 3), (4, 5)]),
    stride=st.sampled_from([(1, 1), (2, 2), (3, 2)]),
    own=st.sampled_from([(0, 0), (1, 2)]),
    groups=st.sampled_from([1, 4]),
)
def test_the_convolution_computes_the_same(
    before: Any, more: Any, kernel: Any, stride: Any, own: Any, groups: int
) -> None:
    after = [max(0, b + m) for b, m in zip(before, more)]
    widths = (before[0], after[0], before[1], after[1])
    symbol = convolved(padded(widths), kernel=kernel, stride=stride, pad=own, num_group=groups)
    found, args, data = made(symbol)
    assert operators(found.network) == ["Convolution"]
    expected = forward(symbol, args, {}, data=data)[0]
    result = run(found.network, data)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("widths, kernel", [((0, 1, 0, 1), (4, 4)), ((1, 0, 1, 1), (4, 3)), ((2, 2, 1, 1), (3, 3))])
def test_zeros_stand_where_the_padding_is_shorter(widths: Tuple[int, ...], kernel: Tuple[int, ...]) -> None:
    found, args, _ = made(convolved(padded(widths), stride=(2, 2)))
    (node,) = found.network.graph.operators
    weight = found.network.params["c_weight"]
    assert weight.shape[2:] == kernel
    assert (node.attrs["kernel"], node.attrs["pad"]) == (str(kernel), str((max(widths[:2]), max(widths[2:]))))
    rows = slice(kernel[0] - 3, None) if widths[0] < widths[1] else slice(None, 3)
    columns = slice(kernel[1] - 3, None) if widths[2] < widths[3] else slice(None, 3)
    np.testing.assert_array_equal(weight[:, :, rows, columns], args["c_weight"].asnumpy())
    assert np.count_nonzero(weight) == args["c_weight"].size


def test_a_dilation_that_the_difference_is_a_multiple_of() -> None:
    symbol = convolved(padded((0, 2, 0, 2)), dilate=(2, 2))
    found, args, data = made(symbol)
    assert operators(found.network) == ["Convolution"]
    np.testing.assert_allclose(run(found.network, data), forward(symbol, args, {}, data=data)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "symbol, reason",
    [
        (convolved(padded((0, 1, 0, 1)), dilate=(2, 2)), "does not fit the dilation"),
        (convolved(padded((0, 10, 0, 0)), stride=(2, 2)), "more than four times as large"),
        (convolved(padded((0, 1, 0, 1)), num_filter=37), "259 multiplications for each value"),
        (convolved(padded((0, 1, 0, 1)), num_filter=148, stride=(2, 2)), "259 multiplications for each value"),
        (convolved(padded((-1, 2, 0, 0))), "takes rows or columns away"),
        (convolved(padded((1, 1, 1, 1), constant_value=0.5)), "something else than zeros"),
        (convolved(padded((1, 1, 1, 1), mode="edge")), "something else than zeros"),
        (convolved(padded((1, 1, 1, 1), mode="reflect")), "something else than zeros"),
    ],
)
def test_other_paddings_stay_and_it_is_said_why(symbol: Any, reason: str) -> None:
    found, args, data = made(symbol)
    assert len(operators(found.network)) == 2
    (refusal,) = found.refusals
    assert refusal.layer == "c" and reason in refusal.reason
    np.testing.assert_allclose(run(found.network, data), forward(symbol, args, {}, data=data)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attrs", [{"num_filter": 36}, {"num_filter": 144, "stride": (2, 2)}])
def test_as_many_multiplications_as_pay_are_added(attrs: Dict[str, Any]) -> None:
    found, _, _ = made(convolved(padded((0, 1, 0, 1)), **attrs))
    assert operators(found.network) == ["Convolution"]


def test_channels_of_other_groups_do_not_count() -> None:
    found, _, _ = made(convolved(padded((0, 1, 0, 1)), num_filter=144, num_group=4))
    assert operators(found.network) == ["Convolution"]


def test_padding_alike_at_both_ends_adds_nothing_whatever_the_size() -> None:
    found, _, _ = made(convolved(padded((1, 1, 2, 2)), num_filter=512))
    assert operators(found.network) == ["Convolution"]


def test_a_pad_that_others_read_stays_for_them() -> None:
    pad = padded((0, 1, 0, 1))
    symbol = mx.sym.Group([convolved(pad, stride=(2, 2)), mx.sym.sum(pad)])
    found, args, data = made(symbol)
    by_name = {node.name: node for node in found.network.graph.operators}
    assert by_name["c"].inputs[0].name == "data" and by_name["c"].layers == ("c",)
    assert "pad" in by_name
    assert found.aliases["pad"] == {"pad", "c"}
    np.testing.assert_allclose(run(found.network, data), forward(symbol, args, {}, data=data)[0], rtol=1e-5, atol=1e-5)


def test_a_weight_that_two_layers_share_is_not_changed_for_the_other() -> None:
    weight, data = mx.sym.var("w"), mx.sym.var("data")
    first = convolved(padded((0, 1, 0, 1), data=data), weight=weight)
    found, args, _ = made(mx.sym.Group([first, convolved(data, weight=weight, name="d")]))
    np.testing.assert_array_equal(found.network.params["w"], args["w"].asnumpy())
    assert found.network.params["c_weight"].shape == (8, 4, 4, 4)


def test_its_name_stands_for_the_convolutions() -> None:
    pad = padded((0, 1, 0, 1))
    found, _, _ = made(mx.sym.Group([convolved(pad, stride=(2, 2)), convolved(pad, stride=(2, 2), name="d")]))
    assert found.aliases["pad"] == {"pad", "c", "d"}
    assert [node.layers for node in found.network.graph.operators] == [("c",), ("d",)]
    assert not found.dropped


def test_a_name_that_two_pads_share_stands_for_both_convolutions() -> None:
    first = convolved(padded((0, 1, 0, 1)))
    found, _, _ = made(convolved(padded((1, 0, 1, 0), data=first), name="d"))
    assert operators(found.network) == ["Convolution", "Convolution"]
    assert {"c", "d"} <= found.aliases["pad"]


def test_excluding_the_pad_excludes_the_convolution_and_its_shape_is_known_to_gluon() -> None:
    class Same(mx.gluon.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return F.pad(x, mode="constant", pad_width=(0, 0, 0, 0, 0, 1, 0, 1), name="same")

    net = mx.gluon.nn.HybridSequential()
    net.add(Same(), mx.gluon.nn.Conv2D(8, 3, strides=2, in_channels=4, prefix="c_"), mx.gluon.nn.Dense(5))
    net.initialize(mx.init.Xavier())
    data = images(4, 4, 12, 12)
    expected = net(mx.nd.array(data)).asnumpy()
    model = mxquant.quantize(net, data, accuracy="fast")
    assert sqnr(expected, model.as_block()(mx.nd.array(data)).asnumpy()) > 30
    assert model.plan.layers["c_fwd"].precision == "int8"
    excluded = mxquant.quantize(net, data, accuracy="fast", exclude_layers=["*same*"])
    assert excluded.plan.layers["c_fwd"].precision == "float32"


@pytest.mark.parametrize("with_batch_norm", [False, True])
def test_a_monitor_sees_what_the_convolution_makes(with_batch_norm: bool) -> None:
    x = convolved(padded((0, 1, 0, 1)), stride=(2, 2))
    symbol = dense(mx.sym.BatchNorm(x, fix_gamma=False, name="bn") if with_batch_norm else x, "d")
    data = images(*SHAPE)
    args, aux = random_params(symbol, data=SHAPE)
    *quantized, collector = quantize_graph(symbol, args, aux, calib_mode="naive", quantized_dtype="auto")
    executor = backend_symbol(symbol, "MKLDNN_QUANTIZE").bind(
        mx.cpu(), {**args, "data": mx.nd.array(data)}, aux_states=aux, grad_req="null"
    )
    executor.set_monitor_callback(collector.collect, monitor_all=True)
    executor.forward(is_train=False)[0].wait_to_read()
    result = calib_graph(*quantized, collector, calib_mode="naive")
    # What is left in float32 would have no noise at all.
    assert 30 < sqnr(forward(symbol, args, aux, data=data)[0], forward(*result, data=data)[0]) < 60


def test_int8_has_no_conversions_around_a_pad() -> None:
    symbol = dense(convolved(mx.sym.Activation(convolved(padded((0, 1, 0, 1))), act_type="relu"), name="c2"), "d")
    data = images(*SHAPE)
    args, _ = random_params(symbol, data=SHAPE)
    model = mxquant.quantize(symbol, data, arg_params=args, accuracy="fast")
    names = model.symbol.get_internals().list_outputs()
    assert not any("dequantize" in name or name.startswith("pad") for name in names)
