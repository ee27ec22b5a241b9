"""Small networks, one per construction that MXNet 1.9.1 can or cannot compute in int8: right in both modes.

Beside each stands what ``mxnet.contrib.quantization`` makes of it, calibrated and not: 'right', 'wrong' (the
signal-to-noise ratio is below what 8 bits give), or 'fails' (it raises). The stock tool runs too, so that the table
cannot go stale.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import pytest

import mxquant
from mxquant.lowering.isa import detect, saturates
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (4, 8, 8, 8)
Key = Tuple[str, Optional[str]]
# What 8 bits give here; a product of two int8 tensors is rounded once more. Without VNNI oneDNN takes one bit from the
# weights of convolutions that read int8.
RIGHT_DB, PRODUCT_DB = 29.0, 27.0


class Case(NamedTuple):
    build: Callable[[Any], Any]
    calibrated: str = "right"
    uncalibrated: str = "right"
    floor: float = RIGHT_DB


def act(data: Any, kind: str) -> Any:
    return mx.sym.Activation(data, act_type=kind)


def leaky(data: Any, kind: str) -> Any:
    return mx.sym.LeakyReLU(data, act_type=kind)


def pool(data: Any, kernel: int = 2, kind: str = "max", **attrs: Any) -> Any:
    return mx.sym.Pooling(data, kernel=(kernel, kernel), pool_type=kind, **attrs)


def residual(summand: Callable[[Any], Any], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return: a convolution, whose result `summand` makes a tensor that is added to another convolution of it."""

    def build(data: Any) -> Any:
        x = summand(conv(data, "c1"))
        return conv(then(conv(x, "c2") + x), "c3")

    return build


def after_conv(then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda data: conv(then(conv(data, "c1")), "c2")


def after_dense(then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda data: dense(then(dense(data, "f1")), "f2")


def same(data: Any) -> Any:
    return data


def clip(low: float, high: float) -> Callable[[Any], Any]:
    return lambda data: mx.sym.clip(data, a_min=low, a_max=high)


def norm(fix_gamma: bool) -> Callable[[Any], Any]:
    return lambda data: relu(mx.sym.BatchNorm(pool(data), fix_gamma=fix_gamma, name="bn"))


def two_branches(join: Callable[[Any, Any], Any], left: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda data: conv(join(left(conv(data, "c1")), conv(data, "c2")), "c3")


def concat(a: Any, b: Any) -> Any:
    return mx.sym.Concat(a, b, dim=1)


def add_pooled(a: Any, b: Any) -> Any:
    return pool(a) + pool(b)


def reused_parts_of_a_concat(data: Any) -> Any:
    x = relu(conv(data, "c1"))
    return mx.sym.Group([conv(concat(x, conv(data, "c2")), "c3"), conv(x, "c4")])


def returned_from_inside(data: Any) -> Any:
    x = conv(data, "c1")
    return mx.sym.Group([conv(relu(x), "c2"), x])


def with_parameter(data: Any) -> Any:
    return conv(conv(data, "c1") + mx.sym.var("p", shape=SHAPE), "c2")


CASES: Dict[str, Case] = {
    "uint8 added, int8 result": Case(residual(relu, same), "wrong"),
    "int8 added, uint8 result": Case(residual(same, relu), "wrong"),
    "uint8 added, uint8 result": Case(residual(relu, relu)),
    "int8 added, int8 result": Case(residual(same, same)),
    "added, then sigmoid": Case(residual(relu, lambda x: act(x, "sigmoid")), "wrong"),
    **{
        f"added, then LeakyReLU {kind}": Case(residual(relu, lambda x, k=kind: leaky(x, k)), *stock)
        for kind, stock in {
            "leaky": ("wrong", "right"),
            "elu": ("wrong", "right"),
            "selu": ("wrong", "right"),
            "gelu": ("fails", "fails"),
        }.items()
    },
    **{
        f"conv and {kind}": Case(after_conv(lambda x, k=kind: act(x, k)))
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"conv and LeakyReLU {kind}": Case(after_conv(lambda x, k=kind: leaky(x, k)), *stock)
        for kind, stock in {"leaky": (), "elu": (), "selu": (), "gelu": ("wrong", "wrong")}.items()
    },
    "conv and clip from 0": Case(after_conv(clip(0, 0.5)), "right", "wrong"),
    "conv and clip": Case(after_conv(clip(-0.3, 0.5))),
    **{
        f"dense and {kind}": Case(after_dense(lambda x, k=kind: act(x, k)))
        for kind in ("relu", "sigmoid", "tanh", "softrelu")
    },
    **{
        f"dense and LeakyReLU {kind}": Case(after_dense(lambda x, k=kind: leaky(x, k)), *stock)
        for kind, stock in {
            "leaky": ("wrong", "right"),
            "elu": ("right", "wrong"),
            "gelu": ("right", "wrong"),
        }.items()
    },
    "dense and abs": Case(after_dense(mx.sym.abs)),
    "dense and clip": Case(after_dense(clip(0, 0.3)), "right", "wrong"),
    "dilated": Case(lambda data: conv(data, "c1", dilate=(2, 2))),
    "grouped": Case(lambda data: conv(relu(conv(data, "c1")), "c2", num_group=2), "wrong"),
    "depthwise": Case(lambda data: conv(relu(conv(data, "c1")), "c2", num_group=8)),
    "1D": Case(
        lambda data: mx.sym.Convolution(mx.sym.reshape(data, (0, 0, -1)), kernel=(3,), num_filter=4, name="c"),
        "fails",
        "fails",
    ),
    "max pooling": Case(after_conv(pool)),
    "max pooling, full": Case(after_conv(lambda x: pool(x, 3, stride=(2, 2), pooling_convention="full"))),
    "average pooling": Case(after_conv(lambda x: pool(relu(x), 3, "avg", pad=(1, 1)))),
    "average pooling, padding left out": Case(
        after_conv(lambda x: pool(relu(x), 3, "avg", pad=(1, 1), count_include_pad=False))
    ),
    "relu by itself": Case(after_conv(lambda x: relu(pool(x)))),
    "product": Case(two_branches(lambda a, b: a * b, same), floor=PRODUCT_DB),
    "sum of int8": Case(two_branches(add_pooled, same)),
    "sum of uint8 and int8": Case(two_branches(add_pooled, relu)),
    "concat of uint8 and int8": Case(two_branches(concat, relu)),
    "concat on the last axis": Case(two_branches(lambda a, b: mx.sym.Concat(a, b, dim=-1), relu)),
    "concat whose parts have other readers": Case(reused_parts_of_a_concat),
    "BatchNorm": Case(after_conv(norm(fix_gamma=False)), "right", "fails"),
    "BatchNorm with fixed gamma": Case(after_conv(norm(fix_gamma=True)), "wrong", "fails"),
    "a convolution added to itself": Case(after_conv(lambda x: x + x), "fails", "fails"),
    "a convolution that is returned and read": Case(returned_from_inside, "wrong", "wrong"),
    "a parameter added": Case(with_parameter, "fails", "fails"),
}


def lowest(quantized: Any, data: Any, reference: Any) -> float:
    return min(sqnr(r, o) for r, o in zip(reference, forward(*quantized, data=data)))


def ours(symbol: Any, args: Any, aux: Any, data: Any, method: Optional[str]) -> Tuple[Any, Any, Any]:
    result = mxquant.quantize(
        symbol, data if method else None, arg_params=args, aux_params=aux, method=method, mode="full"
    )
    return result.symbol, result.arg_params, result.aux_params


def stock(symbol: Any, args: Any, aux: Any, data: Any, method: Optional[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mxnet.contrib.quantization import quantize_model_mkldnn
    return quantize_model_mkldnn(
        symbol,
        {name: value.copy() for name, value in args.items()},
        aux,
        label_names=None,
        calib_mode="naive" if method else "none",
        calib_data=mx.io.NDArrayIter({"data": data}, batch_size=len(data)) if method else None,
        quantized_dtype="auto",
        quantize_mode="full",
    )


def problem(name: str) -> Tuple[Any, ...]:
    symbol = CASES[name].build(mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    return symbol, args, aux, data, forward(symbol, args, aux, data=data)


@pytest.mark.parametrize("method", ["minmax", None])
@pytest.mark.parametrize("name", CASES)
def test_int8_is_as_good_as_8_bits_are(name: str, method: Optional[str]) -> None:
    symbol, args, aux, data, reference = problem(name)
    assert lowest(ours(symbol, args, aux, data, method), data, reference) >= CASES[name].floor


@pytest.mark.parametrize("method", ["minmax", None])
def test_sum_pooling_stays_float32_between_int8_layers(method: Optional[str]) -> None:
    symbol = after_conv(lambda x: pool(x, kind="sum", name="sum"))(mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    given, options = data if method else None, {"method": method, "mode": "full", "accuracy": "fast"}
    model = mxquant.quantize(symbol, given, arg_params=args, aux_params=aux, **options)
    layers = model.plan.layers
    assert [layers[name].precision for name in ("c1", "sum", "c2")] == ["int8", "float32", "int8"]
    assert layers["sum"].reason == "MXNet's int8 pooling is max or avg, this one is sum"
    int8 = model.symbol, model.arg_params, model.aux_params
    assert lowest(int8, data, forward(symbol, args, aux, data=data)) >= RIGHT_DB


def behaviour_of_stock(name: str, method: Optional[str]) -> str:
    symbol, args, aux, data, reference = problem(name)
    try:
        level = lowest(stock(symbol, args, aux, data, method), data, reference)
    except (mx.MXNetError, KeyError, RuntimeError, ValueError):
        return "fails"
    return "right" if level >= CASES[name].floor else "wrong"


@pytest.fixture(scope="module")
def stock_behaviour() -> Dict[Key, str]:
    """What the stock tool makes of every case; one that raises has a process to itself."""
    keys = [(name, method) for method in ("minmax", None) for name in CASES]
    groups = [
        [key for key in keys if expected_of_stock(*key) != "fails"],
        *([key] for key in keys if expected_of_stock(*key) == "fails"),
    ]
    script = f"from {__name__} import tell_of_stock as tell; tell({groups!r})"
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=True)
    told = [key for group in groups for key in group], done.stdout.decode().split()
    assert len(told[0]) == len(told[1]), "one that should not raise has done so"
    return dict(zip(*told))


def expected_of_stock(name: str, method: Optional[str]) -> str:
    return CASES[name].calibrated if method else CASES[name].uncalibrated


def tell_of_stock(groups: Sequence[Sequence[Key]]) -> None:
    """Print what the stock tool makes of each case, in a process for each group, which ends where one raises."""
    for group in groups:
        child = os.fork()
        if not child:
            code = 1
            try:
                for key in group:
                    found = behaviour_of_stock(*key)
                    print(found, flush=True)
                    if found == "fails":
                        break
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0, group


@pytest.mark.parametrize("method", ["minmax", None])
@pytest.mark.parametrize("name", CASES)
def test_what_the_stock_tool_makes_of_it(name: str, method: Optional[str], stock_behaviour: Dict[Key, str]) -> None:
    expected = expected_of_stock(name, method)
    if expected == "right" and saturates(detect()):
        pytest.skip("on this CPU the stock tool's sums saturate, more or less")
    assert stock_behaviour[name, method] == expected
