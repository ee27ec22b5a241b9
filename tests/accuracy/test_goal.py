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
    assert goal.metric is not None and goal.metric([1, 2]) == 2.0
    assert goal.max_drop == 1.0


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array([0.5]), np.array(0.5), mx.nd.array([0.5])])
def test_a_function_returns_one_number(value: Any) -> None:
    goal = Goal.of(lambda block: value, 1)
    assert goal.metric is not None and goal.metric(None) == 0.5


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), np.zeros(2), "0.5", [], True])
def test_what_is_no_number_is_told(value: Any) -> None:
    goal = Goal.of(lambda block: value, 1)
    with pytest.raises(InputError, match="metric: the function returned .*, expected one finite number"):
        assert goal.metric is not None and goal.metric(None)


def test_the_first_of_nested_outputs_is_that_of_the_classes() -> None:
    goal = Goal.of((np.eye(4), np.arange(4)), 0)
    assert goal.metric is not None and goal.metric(lambda batch: [[batch], -batch]) == 1.0


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 1, 2, 99], "the label of example 3 is 99, but the network's first output has 4 classes, from 0 on"),
        ([0, 1.5, 2, 3], "the label of example 1 is .*1.5.*, expected the number of a class"),
        ([0, 1, -1, 3], "the label of example 2 is .*-1.*, expected the number of a class"),
        ([0, 1, 2, float("nan")], "the label of example 3 is .*nan"),
        (["a", "b", "c", "d"], "the label of example 0 is .*a.*, expected the number"),
    ],
)
def test_labels_are_numbers_of_classes(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        goal = Goal.of((np.eye(4), np.array(labels)), 0)
        assert goal.metric is not None and goal.metric(lambda batch: batch)


def test_data_that_do_not_fit_are_told() -> None:
    block = mx.gluon.nn.Dense(3, in_units=5)
    block.initialize()
    goal = Goal.of((np.eye(4), np.zeros(4)), 0)
    with pytest.raises(InputError, match=r"metric: the network cannot take data of shape \(4, 4\)"):
        assert goal.metric is not None and goal.metric(block)
    goal = Goal.of((np.eye(4), np.zeros(4)), 0)
    with pytest.raises(InputError, match=r"first output has shape \(2, 4\), expected one row of scores for each of 4"):
        assert goal.metric is not None and goal.metric(lambda batch: batch[:2])


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
