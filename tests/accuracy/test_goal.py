"""What has to be reached is stated in one of three forms; everything else is refused by the argument's name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mxquant import InputError
from mxquant.accuracy.goal import Goal
from mxquant.runtime.mxnet import mx


@pytest.mark.parametrize(
    "text, decibels", [("sqnr>=20", 20), ("sqnr >= 20.5 dB", 20.5), (" sqnr>=7dB ", 7), ("sqnr>=0", 0)]
)
def test_a_signal_to_noise_ratio(text: str, decibels: float) -> None:
    goal = Goal.of(text, None)
    assert (goal.decibels, goal.metric) == (decibels, None)


def test_top_1_accuracy_is_that_of_the_first_output() -> None:
    data, labels = np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0])
    for made in (data, mx.nd.array(data)):
        goal = Goal.of((made, labels), 0.01)
        assert goal.max_drop == 0.01
        assert goal.metric is not None
        assert goal.metric(lambda batch: batch) == 0.75
        assert goal.metric(lambda batch: [batch, -batch]) == 0.75


def test_a_function() -> None:
    goal = Goal.of(len, 1)
    assert goal.metric is len
    assert goal.max_drop == 1.0


@pytest.mark.parametrize(
    "metric, max_drop, message",
    [
        ("sqnr>20", None, "metric is 'sqnr>20', expected 'sqnr>=20 dB'"),
        ("accuracy", None, "metric is 'accuracy'"),
        ("sqnr>=20", 0.1, "max_drop is 0.1, but metric='sqnr>=20' states what has to be reached"),
        (len, None, "max_drop is None, expected a number from 0 on"),
        (len, -1, "max_drop is -1"),
        (len, float("nan"), "max_drop is nan"),
        (len, True, "max_drop is True"),
        (None, 0.1, "metric is NoneType, expected"),
        ([1, 2], 0.1, "metric is list, expected"),
        ((np.zeros((3, 2)), np.zeros(2)), 0.1, "metric: 3 examples, but 2 labels"),
    ],
)
def test_what_is_refused(metric: Any, max_drop: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Goal.of(metric, max_drop)
