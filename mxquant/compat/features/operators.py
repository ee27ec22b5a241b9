"""Operators: attributes of all kinds, operators written in Python, control flow, test_utils."""

from __future__ import annotations

from typing import Any, List

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from mxquant.compat.features.compare import close, equal, raises
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]

_TWO, _THREE = np.int64(2), np.int32(3)


def _attributes() -> None:
    values = np.arange(6, dtype="float32").reshape(2, 3)
    array = mx.nd.array(values)
    equal(array.reshape((_THREE, 2)), values.reshape(3, 2))
    equal(array.reshape(_THREE, -1), values.reshape(3, 2))
    equal(mx.nd.reshape(array, shape=[_THREE, _TWO]), values.reshape(3, 2))
    equal(mx.nd.transpose(array, axes=(np.int64(1), np.int64(0))), values.T)
    equal(mx.nd.sum(array, axis=(np.int64(0), 1)), np.array([15], "float32"))
    equal(mx.nd.zeros((_TWO, 3)).shape, (2, 3))
    equal(mx.nd.full(tuple(np.array([2, 2])), np.float32(0.5)), np.full((2, 2), 0.5, "float32"))
    equal(mx.nd.tile(array, reps=(np.uint8(1), _TWO)), np.tile(values, 2))
    equal(mx.nd.slice(array, begin=(None, np.int64(1)), end=(None, None)), values[:, 1:])
    equal(mx.nd.clip(array, np.float32(1), np.float64(4)), values.clip(1, 4))
    equal(mx.nd.expand_dims(array, axis=np.int64(1)).shape, (2, 1, 3))
    equal(mx.nd.broadcast_to(mx.nd.ones((1, 3)), shape=tuple(np.array([2, 3]))), np.ones((2, 3), "float32"))
    equal(mx.nd.pad(array.reshape((1, 1, 2, 3)), mode="constant", pad_width=(0, 0, 0, 0, _TWO, 0, 0, np.int64(1)),
                    constant_value=np.float32(7))[0, 0, 0], np.full(4, 7, "float32"))  # fmt: skip
    equal(mx.nd.split(array, num_outputs=_THREE, axis=1)[2], values[:, 2:])
    equal(mx.nd.moveaxis(array, 0, np.int64(1)), values.T)


def _convolved(kernel: Any, stride: Any, module: Any, data: Any) -> Any:
    return module.Convolution(data, kernel=kernel, stride=stride, pad=(np.int64(1), 0), num_filter=_TWO, no_bias=True)


def _layer_attributes() -> None:
    image = np.random.randn(1, 1, 5, 5).astype("float32")
    kernel, stride = (np.int64(3), _THREE), (np.int64(2), np.int64(1))
    symbol = _convolved(kernel, stride, mx.sym, mx.sym.var("data", shape=(1, 1, np.int64(5), 5)))
    equal(symbol.infer_shape()[1], [(1, 2, 3, 3)])
    equal(symbol.list_attr()["kernel"].replace(" ", ""), "(3,3)")
    weight = mx.nd.random.normal(shape=(2, 1, 3, 3))
    found = symbol.bind(mx.cpu(), dict(zip(symbol.list_arguments(), (mx.nd.array(image), weight)))).forward()[0]
    padded = np.pad(image[0, 0], ((1, 1), (0, 0)))
    expected = [[[(padded[2 * i : 2 * i + 3, j : j + 3] * one[0]).sum() for j in range(3)] for i in range(3)]
                for one in weight.asnumpy()]  # fmt: skip
    close(found[0], expected, 1e-4, 1e-5)
    equal(mx.sym.reshape(mx.sym.var("x"), shape=(_THREE, -1)).infer_shape(x=(2, 3))[1], [(3, 2)])
    equal(mx.sym.zeros((_TWO, np.int64(4))).infer_shape()[1], [(2, 4)])
    layer = gluon.nn.Conv2D(4, (np.int64(3), 3), in_channels=np.int64(1))
    layer.initialize()
    equal(layer(mx.nd.array(image)).shape, (1, 4, 3, 3))
    pooled = mx.nd.Pooling(mx.nd.array(image), kernel=(np.int64(5), _TWO), pool_type="max", stride=(1, np.int64(3)))
    equal(pooled[0, 0, 0], np.array([image[..., :2].max(), image[..., 3:].max()]))
    up = mx.nd.UpSampling(mx.nd.array(image), scale=np.int64(2), sample_type="nearest")
    equal(up, image.repeat(2, 2).repeat(2, 3))


class _Softmax(mx.operator.CustomOp):
    def forward(self, is_train: Any, req: Any, in_data: Any, out_data: Any, aux: Any) -> None:
        values = in_data[0].asnumpy()
        powers = np.exp(values - values.max(axis=1).reshape((values.shape[0], 1)))
        self.assign(out_data[0], req[0], mx.nd.array(powers / powers.sum(axis=1).reshape((-1, 1))))

    def backward(self, req: Any, out_grad: Any, in_data: Any, out_data: Any, in_grad: Any, aux: Any) -> None:
        result = out_data[0].asnumpy()
        result[np.arange(result.shape[0]), in_data[1].asnumpy().astype(int)] -= 1.0
        self.assign(in_grad[0], req[0], mx.nd.array(result))


@mx.operator.register("mxquant_compat_softmax")
class _SoftmaxProp(mx.operator.CustomOpProp):
    def __init__(self, factor: str = "1") -> None:
        super().__init__(need_top_grad=False)
        self.factor = factor

    def list_arguments(self) -> List[str]:
        return ["data", "label"]

    def infer_shape(self, in_shape: Any) -> Any:
        return [in_shape[0], (in_shape[0][0],)], [in_shape[0]], []

    def create_operator(self, ctx: Any, shapes: Any, dtypes: Any) -> Any:
        equal(self.factor, "(2, 3)")
        return _Softmax()


def _custom_operator() -> None:
    values, labels = np.random.randn(3, 4).astype("float32"), np.array([1, 0, 3])
    powers = np.exp(values)
    shares = powers / powers.sum(axis=1, keepdims=True)
    data = mx.nd.array(values)
    data.attach_grad()
    with autograd.record():
        out = mx.nd.Custom(data, mx.nd.array(labels), op_type="mxquant_compat_softmax", factor=(_TWO, 3))
    out.backward()
    close(out, shares, 1e-4)
    close(data.grad, shares - np.eye(4)[labels], 1e-4)
    symbol = mx.sym.Custom(mx.sym.var("x"), mx.sym.var("y"), op_type="mxquant_compat_softmax", factor=(2, _THREE))
    bound = symbol.bind(mx.cpu(), {"x": data, "y": mx.nd.array(labels)})
    close(bound.forward()[0], shares, 1e-4)


class _Sigmoid(autograd.Function):
    def forward(self, x: Any) -> Any:
        y = 1 / (1 + mx.nd.exp(-x))
        self.save_for_backward(y)
        return y

    def backward(self, dy: Any) -> Any:
        (y,) = self.saved_tensors
        return dy * y * (1 - y)


def _own_function() -> None:
    values = np.random.randn(5).astype("float32")
    x = mx.nd.array(values)
    x.attach_grad()
    with autograd.record():
        y = _Sigmoid()(x)
    y.backward()
    right = 1 / (1 + np.exp(-values))
    close(y, right, 1e-5)
    close(x.grad, right * (1 - right), 1e-5)


def _control_flow() -> None:
    values = np.arange(6, dtype="float32").reshape(3, 2)
    outs, state = mx.nd.contrib.foreach(
        lambda row, total: (row + total, row + total), mx.nd.array(values), mx.nd.zeros(2)
    )
    equal(outs, values.cumsum(axis=0))
    equal(state, values.sum(axis=0))
    _, (count, total) = mx.nd.contrib.while_loop(
        lambda count, total: count <= 5, lambda count, total: ([], [count + 1, total + count]),
        (mx.nd.array([1]), mx.nd.array([0])), max_iterations=10,
    )  # fmt: skip
    equal((count.asscalar(), total.asscalar()), (6.0, 15.0))
    small = mx.nd.contrib.cond(mx.nd.array([2]) < 3, lambda: mx.nd.array([1]), lambda: mx.nd.array([0]))
    equal(small.asscalar(), np.float32(1))

    class Sums(gluon.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any, start: Any) -> Any:
            outs, _ = F.contrib.foreach(lambda row, total: (row + total, row + total), x, start)
            return F.contrib.cond(F.sum(start) > 1, lambda: outs * 2, lambda: outs)

    block = Sums()
    block.hybridize()
    for start, factor in ((0, 1), (1, 2)):
        expected = factor * (values.cumsum(axis=0) + start)
        equal(block(mx.nd.array(values), mx.nd.full((2,), start)), expected.astype("float32"))


def _test_utils() -> None:
    tools = mx.test_utils
    tools.assert_almost_equal(mx.nd.ones(3), np.ones(3), rtol=np.float32(1e-5))
    tools.assert_almost_equal(np.array([1.0, np.nan]), np.array([1.0, np.nan]), equal_nan=True)
    raises(AssertionError, tools.assert_almost_equal, np.ones(3), np.array([1, 2, 1.0]))
    x = mx.sym.var("x")
    location = {"x": np.random.rand(3, 2).astype("float32") + 1}
    tools.check_symbolic_forward(x * x, location, [location["x"] ** 2], rtol=1e-4)
    tools.check_symbolic_backward(x * x, location, [np.ones((3, 2))], [2 * location["x"]], rtol=1e-4)
    tools.check_numeric_gradient(mx.sym.sqrt(x), location, numeric_eps=1e-3, rtol=1e-2)
    raises(AssertionError, tools.check_symbolic_forward, x * x, location, [location["x"] ** 3])
    equal(tools.same(np.ones(2), np.ones(2)), True)
    equal(tools.rand_ndarray((_TWO, 3), "default").shape, (2, 3))
    equal(tools.rand_ndarray((4, 3), "csr", density=0.5).stype, "csr")


FEATURES = (
    Feature("attributes of operators as scalars of NumPy", _attributes),
    Feature("attributes of layers as scalars of NumPy", _layer_attributes),
    Feature("CustomOp", _custom_operator),
    Feature("autograd.Function", _own_function),
    Feature("control flow: foreach, while_loop, cond", _control_flow),
    Feature("test_utils", _test_utils),
)
