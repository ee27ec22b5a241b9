"""Networks written by hand, with functions instead of blocks, run wholly in int8 and as well as those of blocks."""

from __future__ import annotations

from typing import Any, Iterator

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import images, sqnr

nn = mx.gluon.nn
SHAPE = (8, 3, 32, 32)


class Layers(mx.gluon.HybridBlock):
    """Layers with weights; what is between them the classes below write in their own ways."""

    def __init__(self) -> None:
        super().__init__(prefix="net_")
        with self.name_scope():
            self.c1, self.c2 = nn.Conv2D(16, 3, padding=1), nn.Conv2D(32, 3, padding=1, strides=2)
            self.norm = nn.BatchNorm()
            self.c3 = nn.Conv2D(32, 3, padding=1)
            self.one, self.two = nn.Dense(24), nn.Dense(10)


class OfBlocks(Layers):
    """As the zoo writes it."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.act, self.pool = nn.Activation("relu"), nn.GlobalAvgPool2D()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.act(self.norm(self.c2(self.act(self.c1(x)))))
        x = self.act(self.c3(x) + x)
        return self.two(self.act(self.one(self.pool(x))))


class OfFunctions(Layers):
    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.maximum(self.norm(self.c2(F.relu(self.c1(x)))), 0)
        x = F.relu(self.c3(x) + x)
        return self.two(F.relu(self.one(x.mean(axis=(2, 3)))))


class OfOthers(Layers):
    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.relu(self.norm(self.c2(F.LeakyReLU(self.c1(x), slope=0))))
        x = F.broadcast_maximum(self.c3(x) + x, F.zeros((1,)))
        x = F.mean(F.reshape(x, (0, 0, -1)), axis=-1)
        x = self.one(x)
        return self.two(x * (x > 0))


class OfKeptAxes(Layers):
    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.relu(self.norm(self.c2(F.relu(self.c1(x)))))
        x = F.relu(self.c3(x) + x)
        x = F.mean(x, axis=(0, 1), exclude=True, keepdims=True).reshape((0, -1))
        return self.two(F.maximum(self.one(x), 0))


class OfNumpy(Layers):
    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.npx.relu(self.norm(self.c2(F.np.maximum(self.c1(x), 0))))
        x = F.npx.relu(self.c3(x) + x)
        x = F.npx.reshape(F.np.mean(x, axis=(2, 3), keepdims=True), (-2, -1))
        return self.two(F.npx.relu(self.one(x)))


@pytest.fixture
def numpy() -> Iterator[None]:
    mx.npx.set_np()
    yield
    mx.npx.reset_np()


def made(kind: Any, array: Any) -> Any:
    mx.random.seed(0)
    net = kind()
    net.initialize(mx.init.Xavier(magnitude=2))
    net.hybridize()
    net(array(images(*SHAPE)))
    return net


def level(net: Any, array: Any, accuracy: str) -> float:
    model = mxquant.quantize(net, images(32, *SHAPE[1:], seed=3), accuracy=accuracy)
    layers = model.plan.layers.values()
    assert {layer.name: layer.reason for layer in layers if layer.precision != "int8"} == {}
    data = array(images(*SHAPE, seed=4))
    return sqnr(net(data).asnumpy(), model.as_block()(data).asnumpy())


@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
@pytest.mark.parametrize("kind", [OfFunctions, OfOthers, OfKeptAxes])
def test_all_layers_run_in_int8_and_lose_no_more_than_those_of_blocks(kind: Any, accuracy: str) -> None:
    expected = level(made(OfBlocks, mx.nd.array), mx.nd.array, accuracy)
    assert expected > 25
    assert abs(level(made(kind, mx.nd.array), mx.nd.array, accuracy) - expected) < 0.3


@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
def test_so_do_those_of_mx_np(accuracy: str, numpy: None) -> None:
    def array(values: np.ndarray) -> Any:
        return mx.np.array(values, dtype="float32")

    expected = level(made(OfBlocks, array), array, accuracy)
    assert expected > 25
    assert abs(level(made(OfNumpy, array), array, accuracy) - expected) < 0.3
