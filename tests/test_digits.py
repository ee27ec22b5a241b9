"""A network that is trained here, on real images with real labels, classifies them as well in int8 as in fp32.

The images are scikit-learn's digits: 1,797 of 8x8 pixels. 947 train the network, 150 calibrate it, 700 test it, so that
0.3 points are 2 images.

A process of its own trains, with one thread: the sums are then always added in the same order, and steps as small as
these take several times as long with two threads on two busy processors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.lowering.isa import detect, saturates
from mxquant.quantization import quantize_net_v2
from mxquant.runtime.mxnet import mx
from tests.onnx_export.runtimes import in_onnxruntime

nn = mx.gluon.nn

TEST, CALIBRATION = 700, 150
MARGIN = 2  # images: at most 0.3 points of 700
LEAST = 679  # images: 97 points of 700
EPOCHS, BATCH, RATE = 20, 30, 0.003
TRAIN = "import sys; from tests.test_digits import train; train(sys.argv[1])"


class Part(NamedTuple):
    """Images in float32 of shape (count, 1, 8, 8), from 0 to 1, and their digits."""

    images: np.ndarray
    digits: np.ndarray


class Trained(NamedTuple):
    """The fp32 network, images to calibrate it, images to test it, and how many of these it gets right."""

    net: Any
    calibration: np.ndarray
    test: Part
    right: int


class Residual(nn.HybridBlock):
    """x + pointwise(depthwise(x)), each convolution with its BatchNorm, and a ReLU at the end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.HybridSequential()
        self.body.add(*convolution(channels, groups=channels), nn.Conv2D(channels, 1, use_bias=False), nn.BatchNorm())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Activation(x + self.body(x), act_type="relu")


def convolution(channels: int, groups: int = 1) -> Any:
    """Return the layers convolution, BatchNorm and ReLU."""
    conv = nn.Conv2D(channels, 3, padding=1, groups=groups, in_channels=groups if groups > 1 else 0, use_bias=False)
    return conv, nn.BatchNorm(), nn.Activation("relu")


def build() -> Any:
    """Return the network, without values."""
    net = nn.HybridSequential()
    net.add(*convolution(16), *convolution(32), Residual(32), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(10))
    return net


def parts() -> Tuple[Part, Part, Part]:
    """Return the images to train with, to calibrate with, and to test with."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    order = np.random.RandomState(0).permutation(len(digits))
    test, calibration, rest = np.split(order, [TEST, TEST + CALIBRATION])
    return (
        Part(images[rest], digits[rest]),
        Part(images[calibration], digits[calibration]),
        Part(images[test], digits[test]),
    )


def train(path: str, seed: int = 0) -> None:
    """Train the network and write its parameters."""
    mx.random.seed(seed)
    part, _, _ = parts()
    net = build()
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    steps = len(part.digits) // BATCH
    schedule = mx.lr_scheduler.CosineScheduler(EPOCHS * steps, base_lr=RATE)
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": RATE, "lr_scheduler": schedule})
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    rng = np.random.RandomState(0)
    for _ in range(EPOCHS):
        for chosen in rng.permutation(len(part.digits))[: steps * BATCH].reshape(steps, BATCH):
            with mx.autograd.record():
                error = loss(net(mx.nd.array(part.images[chosen])), mx.nd.array(part.digits[chosen]))
            error.backward()
            trainer.step(BATCH)
    net.save_parameters(path)


def right(net: Any, part: Part) -> int:
    """Return how many images of a part a network classifies rightly."""
    return int((net(mx.nd.array(part.images)).asnumpy().argmax(axis=1) == part.digits).sum())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Trained:
    path = str(tmp_path_factory.mktemp("digits") / "net.params")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", TRAIN, path], env=environment, cwd=Path(__file__).parents[1], check=True)
    net = build()
    net.load_parameters(path)
    net.hybridize()
    _, calibration, test = parts()
    return Trained(net, calibration.images, test, right(net, test))


def check(trained: Trained, int8: Any) -> None:
    assert abs(right(int8, trained.test) - trained.right) <= MARGIN


def test_the_fp32_network_is_right_on_97_of_100_images(trained: Trained) -> None:
    assert len(trained.test.digits) == TEST
    assert trained.right >= LEAST


@pytest.mark.parametrize("calib_mode", ["none", "naive", "minmax", "entropy", "percentile", "mse"])
def test_every_calibration_mode_of_the_drop_in_keeps_the_accuracy(trained: Trained, calib_mode: str) -> None:
    check(trained, quantize_net_v2(trained.net, calib_data=trained.calibration, calib_mode=calib_mode))


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
@pytest.mark.parametrize("method", ["default", "auto"])
@pytest.mark.parametrize("accuracy", ["fast", "balanced", "best"])
def test_every_preset_keeps_the_accuracy(trained: Trained, accuracy: str, method: str, isa: str) -> None:
    options = {} if method == "default" else {"method": method}
    int8 = mxquant.quantize(trained.net, trained.calibration, accuracy=accuracy, isa=isa, **options)
    assert all(layer.precision == "int8" for layer in int8.plan.layers.values())
    # A plan for 'vnni' saturates on a CPU without.
    if saturates(isa) or not saturates(detect()):
        check(trained, int8.as_block())
    # The thresholds by themselves, without changes of weights, in the arithmetic of any CPU.
    check(trained, mxquant.lower(trained.net, int8.plan, target="simulate").as_block())


@pytest.mark.parametrize("dtype", ["auto", "int8"])
def test_onnx_runtime_keeps_the_accuracy(trained: Trained, dtype: str) -> None:
    model = mxquant.quantize(trained.net, trained.calibration, target="onnx_qdq", dtype=dtype)
    assert all(layer.precision == "int8" for layer in model.plan.layers.values())
    (logits,) = in_onnxruntime(model.proto, data=trained.test.images)
    assert abs(int((logits.argmax(axis=1) == trained.test.digits).sum()) - trained.right) <= MARGIN
