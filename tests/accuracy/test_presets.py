"""What `accuracy` asks for is done as far as it helps, from any form of data, and is told by the plan."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.accuracy.equalization import equalize
from mxquant.accuracy.improving import _chosen, improve, number_of_trials
from mxquant.accuracy.presets import EXAMPLES
from mxquant.accuracy.step import Candidate
from mxquant.analysis.judge import Judge
from mxquant.errors import InputError
from mxquant.graph.passes import canonicalize
from mxquant.runtime.mxnet import mx
from mxquant.thresholds import METHODS
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, sqnr

STEPS = {"none", "analytic bias correction", "bias correction", "bias correction, adaptive rounding"}


def network() -> Any:
    x = relu(conv(mx.sym.var("data"), "c1", 32, kernel=1), "a1")
    return conv(relu(conv(x, "c2", 32), "a2"), "c3", 16, kernel=1)


def correlated(count: int, seed: int = 1) -> np.ndarray:
    """Return positive images whose channels are nearly the same."""
    rng = np.random.RandomState(seed)
    common = np.abs(rng.randn(count, 1, 8, 8))
    return (common * (1 + 0.05 * rng.rand(count, 16, 8, 8))).astype(np.float32)


def parameters(seed: int = 0) -> Any:
    """Return random weights; one of each channel makes its steps large."""
    args, _ = random_params(network(), seed, data=(1, 16, 8, 8))
    for name, value in args.items():
        if name.endswith("weight"):
            value[:, 0] = 2
    return args


def quantized(data: Any, **options: Any) -> Any:
    return mxquant.quantize(network(), data, arg_params=parameters(), **{"method": "minmax", **options})


def level(model: Any, data: np.ndarray) -> float:
    """Return the SQNR of a real int8 network."""
    expected = forward(network(), parameters(), {}, data=data)[0]
    return sqnr(expected, forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data)[0])


def assert_same_params(one: Any, other: Any) -> None:
    assert set(one.arg_params) == set(other.arg_params)
    for name, value in one.arg_params.items():
        np.testing.assert_array_equal(value.asnumpy(), other.arg_params[name].asnumpy(), err_msg=name)


def test_balanced_is_better_than_fast_on_data_not_seen() -> None:
    fast, balanced = (quantized(correlated(32), accuracy=accuracy) for accuracy in ("fast", "balanced"))
    unseen = correlated(16, seed=5)
    assert level(balanced, unseen) >= level(fast, unseen) + 1
    assert balanced.plan.layers == fast.plan.layers
    assert balanced.plan.tensors == fast.plan.tensors


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_balanced_is_no_worse_than_fast_where_there_is_little_to_gain(seed: int) -> None:
    x = relu(conv(relu(conv(mx.sym.var("data"), "c1")), "c2"))
    symbol, data, unseen = dense(x, "fc", 10), images(32, 4, 8, 8), images(32, 4, 8, 8, seed=9)
    args, _ = random_params(symbol, seed, data=data.shape)
    expected = forward(symbol, args, {}, data=unseen)[0]
    levels = []
    for accuracy in ("fast", "balanced"):
        model = mxquant.quantize(symbol, data, arg_params=args, method="minmax", accuracy=accuracy)
        levels.append(sqnr(expected, forward(model.symbol, dict(model.arg_params), {}, data=unseen)[0]))
    # A choice by a few examples may be off by that much on others.
    assert levels[1] >= levels[0] - 0.3


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
def test_best_is_no_worse_than_the_best_of_the_methods_by_themselves(isa: str) -> None:
    # As many examples as it looks at: a quarter of fewer tells no two methods apart that are half a dB from each other.
    data, unseen = correlated(EXAMPLES["best"]), correlated(16, seed=5)

    def simulated(**options: Any) -> float:
        """Return the SQNR on a CPU of that level."""
        model = mxquant.quantize(network(), data, arg_params=parameters(), isa=isa, **options)
        assert model.plan.settings.get("accuracy", "fast") == options["accuracy"]
        found: float = mxquant.compare(network(), model, unseen, arg_params=parameters()).outputs[0].sqnr
        return found

    best = simulated(accuracy="best")
    for accuracy, gain in (("fast", 1.0), ("balanced", -0.1)):
        assert best >= max(simulated(accuracy=accuracy, method=method) for method in METHODS) + gain


def test_the_default_is_balanced_with_calibration_and_fast_without() -> None:
    data = correlated(8)
    default = quantized(data)
    assert default.plan.settings["accuracy"] == "balanced"
    assert_same_params(default, quantized(data, accuracy="balanced"))
    assert "accuracy" not in quantized(None, method=None).plan.settings
    assert_same_params(quantized(None, method=None), quantized(None, method=None, accuracy="fast"))


def test_the_plan_says_what_was_done() -> None:
    settings = quantized(correlated(32), accuracy="balanced").plan.settings
    assert settings["accuracy"] == "balanced"
    assert settings["steps"] == "bias correction, adaptive rounding"
    assert settings["method"] == "minmax"
    assert "steps" not in quantized(correlated(32), accuracy="fast").plan.settings


def test_fast_changes_biases_alone() -> None:
    model = quantized(correlated(16), accuracy="fast", isa="vnni")  # elsewhere weights are made even
    for name, value in parameters().items():
        assert (model.arg_params[name].asnumpy() == value.asnumpy()).all() == name.endswith("weight")


@pytest.mark.parametrize("accuracy", ["fastest", "", "Balanced", 3, True])
def test_an_unknown_accuracy_is_refused(accuracy: Any) -> None:
    with pytest.raises(InputError, match="accuracy is .*, expected one of 'fast', 'balanced', 'best'"):
        quantized(correlated(4), accuracy=accuracy)


@pytest.mark.parametrize("accuracy", ["balanced", "best", "fastest"])
def test_without_calibration_nothing_can_be_improved(accuracy: str) -> None:
    with pytest.raises(InputError, match=f"accuracy is '{accuracy}', but without calibration"):
        quantized(None, method=None, accuracy=accuracy)


def test_without_data_calibration_is_refused() -> None:
    with pytest.raises(InputError, match="data: calibration needs examples"):
        quantized(None, accuracy="balanced")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("accuracy", ["balanced", "best"])
def test_few_examples_are_enough(count: int, accuracy: str) -> None:
    model = quantized(correlated(count), accuracy=accuracy)
    assert model.plan.settings["steps"] in STEPS
    assert (
        level(model, correlated(count)) >= level(quantized(correlated(count), accuracy="fast"), correlated(count)) - 0.1
    )


@pytest.mark.parametrize("accuracy", ["fast", "balanced", "best"])
def test_an_iterator_is_read_once_and_gives_what_an_array_gives(accuracy: str) -> None:
    data = correlated(12)
    parts = np.split(data, 3)
    from_iterator = quantized(iter(parts), accuracy=accuracy)
    from_generator = quantized((part for part in parts), accuracy=accuracy)
    from_list = quantized(parts, accuracy=accuracy)
    from_array = quantized(data, accuracy=accuracy)
    for model in (from_iterator, from_generator, from_list):
        assert_same_params(model, from_array)
        assert model.plan == from_array.plan


def test_only_the_first_examples_are_looked_at_again() -> None:
    data = correlated(48)
    other = data.copy()
    # The same values at other places: calibration cannot tell the difference, reconstruction could.
    other[32:] = other[32:][::-1, :, ::-1]
    assert EXAMPLES["balanced"] == 32
    assert_same_params(quantized(data, accuracy="balanced"), quantized(other, accuracy="balanced"))
    first = data.copy()
    first[:32] = first[:32, :, ::-1] * np.float32(0.9)
    first[0] = data[0]
    changed = quantized(first, accuracy="balanced")
    before = quantized(data, accuracy="balanced")
    assert any(
        (value.asnumpy() != changed.arg_params[name].asnumpy()).any() for name, value in before.arg_params.items()
    )


def test_batches_of_other_shapes_do_not_disturb() -> None:
    small = [correlated(4), correlated(4, seed=2), correlated(4, seed=3)[:, :, :6, :6]]
    assert quantized(small, accuracy="balanced").plan.settings["steps"] in STEPS


def test_number_of_examples_is_kept_to() -> None:
    data = correlated(16)
    assert_same_params(
        quantized(data, accuracy="balanced", num_calib_examples=6), quantized(data[:6], accuracy="balanced")
    )


def test_the_result_can_be_repeated() -> None:
    assert_same_params(quantized(correlated(8), accuracy="best"), quantized(correlated(8), accuracy="best"))


EQUALIZATION = "cross-layer equalization"


def before_depthwise(x: Any) -> Any:
    return conv(relu(conv(x, "next", 24, num_group=24), "a2"), "last", 8, 1)


def before_dense(x: Any) -> Any:
    return dense(mx.sym.Flatten(x), "next", 10)


def before_groups(x: Any) -> Any:
    return conv(x, "next", 8, num_group=4)


def with_outlier(reader: Callable[[Any], Any]) -> Tuple[Any, Dict[str, Any]]:
    """Return a network of which one channel is 50 times larger than the others, and counts as much."""
    x = relu(conv(mx.sym.var("data"), "c0", 16), "a0")
    symbol = reader(relu(conv(x, "c1", 24), "a1"))
    args, _ = random_params(symbol, data=(1, 4, 6, 6))
    for name in ("c1_weight", "c1_bias"):
        args[name][3] *= 50
    weight = args["next_weight"].asnumpy()
    if weight.shape[0] == 24:
        weight[3] /= 50
    elif weight.shape[1] == 6:
        weight[:2, 3] /= 50
    else:
        weight.reshape(10, 24, -1)[:, 3] /= 50
    args["next_weight"][:] = weight
    return symbol, args


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
@pytest.mark.parametrize("reader, gain", [(before_depthwise, 12), (before_dense, 18), (before_groups, 15)])
def test_an_outlier_channel_is_equalized(
    reader: Callable[[Any], Any], gain: float, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbol, args = with_outlier(reader)
    data, unseen = images(64, 4, 6, 6), images(64, 4, 6, 6, seed=9)
    expected = forward(symbol, args, {}, data=unseen)[0]

    def best() -> Tuple[float, Any]:
        model = mxquant.quantize(symbol, data, arg_params=args, accuracy="best", isa=isa)
        return sqnr(expected, forward(model.symbol, dict(model.arg_params), {}, data=unseen)[0]), model.plan

    level_with, plan = best()
    monkeypatch.setattr("mxquant.accuracy.equalization.equalize", lambda network, inputs: (network, frozenset()))
    level_without, plan_without = best()
    assert level_with >= level_without + gain
    assert level_with >= 30
    assert EQUALIZATION in plan.settings["steps"] and EQUALIZATION not in plan_without.settings["steps"]
    assert plan.network == plan_without.network


def test_an_equalized_network_is_planned_by_statistics_of_its_own() -> None:
    symbol, args = with_outlier(before_groups)
    data, unseen = images(64, 4, 6, 6), images(64, 4, 6, 6, seed=9)
    model = mxquant.quantize(symbol, data, arg_params=args, method="entropy")
    assert EQUALIZATION in model.plan.settings["steps"]
    expected = forward(symbol, args, {}, data=unseen)[0]
    # 28 dB by the statistics of channels that are not equalized.
    assert sqnr(expected, forward(model.symbol, dict(model.arg_params), {}, data=unseen)[0]) >= 31


@pytest.mark.parametrize("accuracy", ["balanced", "best"])
def test_channels_that_are_only_small_in_some_examples_are_not_equalized(accuracy: str) -> None:
    x = relu(conv(mx.sym.var("data"), "c1", 24, kernel=1, no_bias=True), "a1")
    symbol = before_depthwise(x)
    args, _ = random_params(symbol, data=(1, 4, 12, 12))
    args["c1_weight"][:12, 1:] = 0
    args["c1_weight"][12:, :1] = 0
    data = images(32, 4, 12, 12)
    data[:24, 0] *= 0.001
    seen = {"data": data[:24]}
    _, changed = equalize(canonicalize(network_of(symbol, args, {})).network, seen)
    assert changed
    model = mxquant.quantize(symbol, data, arg_params=args, accuracy=accuracy)
    assert EQUALIZATION not in model.plan.settings["steps"]


def test_what_does_not_help_is_not_done() -> None:
    data, args = correlated(16), parameters()
    params = {"arg_params": args}
    statistics = mxquant.calibrate(network(), data, **params)
    plan = mxquant.make_plan(network(), statistics, **params, method="minmax", exclude_operators=["Convolution"])
    canonical = canonicalize(network_of(network(), args, {})).network
    found = improve([Candidate(canonical, plan, statistics)], {"data": data})
    assert found.steps == "none"
    assert found.network is canonical


def test_the_better_of_several_plans_is_taken() -> None:
    data, params = correlated(16), {"arg_params": parameters()}
    statistics = mxquant.calibrate(network(), data, **params)
    plan = mxquant.make_plan(network(), statistics, **params, method="minmax")
    tensor = plan.tensors["data"]
    poor = plan.edit_tensor(tensor.name, threshold=20 * tensor.threshold)
    canonical = canonicalize(network_of(network(), params["arg_params"], {})).network
    done: List[int] = []
    candidates = [Candidate(canonical, each, statistics) for each in (poor, plan, poor)]
    found = improve(candidates, {"data": data}, done.append)
    assert found.candidate is candidates[1]
    assert done == list(range(1, number_of_trials(3) + 1))
    judge = Judge(canonical, {"data": data})
    assert judge.level(found.network, plan) > judge.level(canonical, poor) + 6


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"none": 20.0, "analytic": 21.0, "bias": 21.5, "rounding": 21.0}, "bias"),
        ({"none": 20.9, "analytic": 20.0, "bias": 19.5, "rounding": 19.0}, "analytic"),
        ({"none": 21.1, "analytic": 20.0, "bias": 19.5, "rounding": 19.0}, "none"),
        ({"none": 20.0, "analytic": 20.0, "bias": 20.0, "rounding": 20.0}, "none"),
        ({"none": np.inf, "analytic": np.inf}, "none"),
    ],
)
def test_nothing_is_done_only_where_that_is_clearly_better(levels: Any, expected: str) -> None:
    assert _chosen(levels, 1.0) == expected
