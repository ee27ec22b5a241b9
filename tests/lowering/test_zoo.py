"""All 34 networks of the Gluon zoo: each quantizes, binds, runs, and is no less faithful than by the stock tool.

The floors are measured (``python -m tests.benchmark.zoo_sqnr``), less 1.5 dB for other CPUs. On CPUs without VNNI
mxquant's plans cannot saturate, whatever the data, and give up bits for that. The stock tool's sums may saturate; with
these random weights they seldom do, so that it is up to 1.5 dB better there, but for the ResNets.
"""

from __future__ import annotations

import pytest

from mxquant.lowering.isa import detect, saturates
from tests.benchmark.zoo_sqnr import compare
from tests.networks import ZOO

FLOORS = {
    "resnet18_v1": 34.2,
    "resnet34_v1": 34.9,
    "resnet50_v1": 34.8,
    "resnet101_v1": 34.0,
    "resnet152_v1": 33.0,
    "resnet18_v2": 31.9,
    "resnet34_v2": 31.2,
    "resnet50_v2": 30.8,
    "resnet101_v2": 30.4,
    "resnet152_v2": 29.7,
    "vgg11": 28.2,
    "vgg13": 28.2,
    "vgg16": 26.6,
    "vgg19": 26.5,
    "vgg11_bn": 31.0,
    "vgg13_bn": 30.1,
    "vgg16_bn": 29.4,
    "vgg19_bn": 30.1,
    "alexnet": 28.7,
    "inceptionv3": 35.3,
    "squeezenet1.0": 31.4,
    "squeezenet1.1": 31.1,
    "densenet121": 33.3,
    "densenet161": 33.7,
    "densenet169": 34.0,
    "densenet201": 33.3,
    "mobilenet1.0": 36.1,
    "mobilenet0.75": 35.2,
    "mobilenet0.5": 36.0,
    "mobilenet0.25": 36.7,
    "mobilenetv2_1.0": 33.9,
    "mobilenetv2_0.75": 34.5,
    "mobilenetv2_0.5": 35.0,
    "mobilenetv2_0.25": 35.8,
}
# Folding BatchNorm rounds weights otherwise than MXNet does, to either side.
ROUNDING_DB = 0.3
# What a plan gives up so that no sum can saturate, whatever the data: random weights seldom add up to that.
SAFETY_DB = 1.5 if saturates(detect()) else 0.0


def test_every_network_has_a_floor() -> None:
    assert set(FLOORS) == set(ZOO)


@pytest.mark.parametrize("name", ZOO)
def test_as_faithful_as_measured_and_no_less_than_the_stock_tool(name: str) -> None:
    stock, ours = compare(name)
    assert ours >= FLOORS[name] - SAFETY_DB
    assert ours >= stock - ROUNDING_DB - SAFETY_DB
