"""Values far beyond all others: told of by name, and not where data are only spread widely."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from mxquant.stats import Histogram
from mxquant.stats.outliers import outlier
from tests.networks import conv, images, random_params, relu


def normal(count: int = 20_000) -> np.ndarray:
    return np.random.RandomState(0).randn(count)


@pytest.mark.parametrize("far", [1e5, -1e7, 1e9, 1e30])
def test_one_value_far_away_is_found(far: float) -> None:
    values = normal()
    values[7] = far
    found = outlier(Histogram.of(values))
    assert found is not None and found.largest == abs(far)
    # As near as the histogram tells, whose bins are as wide as the largest value asks for.
    assert found.bulk <= max(5.0, abs(far) / 4000)


@pytest.mark.parametrize(
    "values",
    [
        normal(),
        normal() ** 9,
        np.exp(normal() * 2),
        np.random.RandomState(1).standard_t(2, 20_000),
        np.concatenate([np.zeros(10**6), normal() * 1000]),
        np.concatenate([np.full(20_000, 1e-3), np.full(100, 10.0)]),
        np.concatenate([normal(900), [1e6]]),
        np.zeros(10_000),
        np.zeros(0),
    ],
)
def test_wide_sparse_and_few_values_are_none(values: np.ndarray) -> None:
    assert outlier(Histogram.of(values)) is None


def test_calibration_names_the_tensors_once(caplog: Any) -> None:
    symbol = conv(relu(conv(mx.sym.var("data"), "c1")), "c2")
    data = images(16, 3, 16, 16)
    args, aux = random_params(symbol, data=data.shape)
    with caplog.at_level(logging.WARNING, logger="mxquant"):
        mxquant.calibrate(symbol, data, arg_params=args, aux_params=aux)
        assert not caplog.records
        data[3, 0, 2, 2] = 1e6
        mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    told = [record.getMessage() for record in caplog.records if "far beyond all others" in record.getMessage()]
    assert len(told) == 1
    assert "'data' reaches 1e+06" in told[0] and "look for broken examples" in told[0]
