"""An fp32 network that MXNet fuses, as it is timed and scored, computes what it computes unfused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mxquant.analysis.predictor import Predictor
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu, sqnr


def batch_norm(data: Any, name: str) -> Any:
    return mx.sym.BatchNorm(data, fix_gamma=False, name=name)


def activation_in_front(first: Any) -> Any:
    return conv(relu(first, "act"), "second", 8) + first


def norm_in_front(first: Any) -> Any:
    return conv(relu(batch_norm(first, "norm"), "act"), "second", 8) + first


def added_to_its_activation(first: Any) -> Any:
    return relu(first, "act") + first


def both_returned(first: Any) -> Any:
    return mx.sym.Group([relu(first, "act"), first])


def sum_read_twice(first: Any) -> Any:
    total = first + conv(relu(first, "before"), "other", 8)
    return relu(total, "act") + total


CASES = (activation_in_front, norm_in_front, added_to_its_activation, both_returned, sum_read_twice)


@pytest.mark.parametrize("build", CASES)
def test_a_layer_with_several_readers_is_read_as_it_is(build: Any) -> None:
    symbol, data = build(conv(mx.sym.var("data"), "first", 8)), images(2, 8, 10, 10)
    args, aux = random_params(symbol, data=data.shape)
    plain, fused = (Predictor(symbol, args, aux, fused=fused)({"data": data}, 2) for fused in (False, True))
    for expected, found in zip(plain, fused):
        assert sqnr(expected, found) > 100
    assert np.isfinite(plain[0]).all()
