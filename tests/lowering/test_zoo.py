"""All 34 networks of the Gluon zoo: each quantizes, binds, runs, and is more faithful than by the stock tool.

The floors are measured (``python -m tests.benchmark.zoo_sqnr``), less 1 dB for other CPUs.
"""

from __future__ import annotations

import pytest

from mxquant.lowering.isa import detect, saturates
from tests.benchmark.zoo_sqnr import compare
from tests.networks import ZOO

# In dB, on CPUs with VNNI and on those without, where a plan gives up bits so that no sum can saturate.
FLOORS = {
    "resnet18_v1": (40.8, 36.7),
    "resnet34_v1": (42.0, 37.2),
    "resnet50_v1": (41.9, 37.3),
    "resnet101_v1": (41.0, 36.8),
    "resnet152_v1": (38.5, 34.1),
    "resnet18_v2": (34.5, 33.8),
    "resnet34_v2": (34.0, 33.7),
    "resnet50_v2": (33.6, 32.5),
    "resnet101_v2": (33.3, 32.1),
    "resnet152_v2": (32.8, 31.0),
    "vgg11": (35.5, 32.5),
    "vgg13": (34.5, 31.4),
    "vgg16": (33.3, 30.1),
    "vgg19": (32.2, 29.2),
    "vgg11_bn": (41.5, 36.5),
    "vgg13_bn": (40.9, 36.1),
    "vgg16_bn": (40.6, 35.5),
    "vgg19_bn": (41.1, 36.2),
    "alexnet": (36.7, 32.8),
    "inceptionv3": (44.4, 38.7),
    "squeezenet1.0": (43.2, 41.0),
    "squeezenet1.1": (42.1, 41.7),
    "densenet121": (37.2, 36.8),
    "densenet161": (37.7, 36.7),
    "densenet169": (37.4, 37.3),
    "densenet201": (37.8, 37.1),
    "mobilenet1.0": (45.9, 40.6),
    "mobilenet0.75": (43.3, 37.5),
    "mobilenet0.5": (46.1, 40.9),
    "mobilenet0.25": (47.0, 41.9),
    "mobilenetv2_1.0": (36.3, 35.0),
    "mobilenetv2_0.75": (37.0, 36.5),
    "mobilenetv2_0.5": (37.2, 36.1),
    "mobilenetv2_0.25": (37.8, 37.5),
}


# One of each kind; the others on request.
QUICK = (
    "resnet18_v1",
    "resnet50_v1",
    "densenet121",
    "squeezenet1.1",
    "inceptionv3",
    "mobilenet0.25",
    "mobilenetv2_1.0",
)
NETWORKS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ZOO]


def test_every_network_has_a_floor() -> None:
    assert set(FLOORS) == set(ZOO)


@pytest.mark.parametrize("name", NETWORKS)
def test_as_faithful_as_measured_and_more_than_by_the_stock_tool(name: str) -> None:
    stock, ours = compare(name)
    assert ours >= FLOORS[name][saturates(detect())]
    assert ours > stock
