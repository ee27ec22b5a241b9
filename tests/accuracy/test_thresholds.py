"""The choice of a method per tensor is no worse than any single method, and avoids a method that does harm."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.accuracy.thresholds import choose_methods
from mxquant.analysis.judge import Judge
from mxquant.graph.passes import canonicalize
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.thresholds import METHODS
from tests.networks import conv, dense, images, network_of, random_params, relu

SHAPE = (8, 4, 10, 10)


def plain(data: Any) -> Any:
    return dense(relu(conv(relu(conv(data, "c1")), "c2")), "fc", 10)


def branched(data: Any) -> Any:
    x = relu(conv(data, "c1"))
    x = relu(mx.sym.elemwise_add(conv(x, "c2"), x, name="sum"))
    x = mx.sym.Concat(conv(x, "c3", 4), relu(conv(x, "c4", 4)), name="join")
    return dense(mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="avg", name="pool"), "fc", 10)


class Setting:
    """A network, its statistics, and the plans that are asked for."""

    def __init__(self, symbol: Any, data: np.ndarray, change: Optional[Dict[str, float]] = None) -> None:
        self.symbol, self.data = symbol, data
        args, aux = random_params(symbol, data=data.shape)
        for name, factor in (change or {}).items():
            args[name][:] = args[name] * factor
        self.params = {"arg_params": args, "aux_params": aux}
        self.statistics = mxquant.calibrate(symbol, data, **self.params)
        self.network = canonicalize(network_of(symbol, args, aux)).network
        self.judge = Judge(self.network, {"data": data})
        self.asked: List[Tuple[str, Mapping[str, str]]] = []

    def make(self, method: str, tensors: Mapping[str, str]) -> QuantPlan:
        self.asked.append((method, dict(tensors)))
        return mxquant.make_plan(
            self.symbol, self.statistics, **self.params, method=method, tensor_methods=tensors, isa="vnni"
        )

    def chosen(self) -> QuantPlan:
        return choose_methods(self.network, self.make, {"data": self.data})

    def level(self, plan: QuantPlan) -> float:
        return self.judge.level(self.network, plan)


def heavy_tails(seed: int = 0) -> np.ndarray:
    """Return data of which one value in a hundred is far out."""
    rng = np.random.RandomState(seed)
    return (rng.randn(*SHAPE) * np.where(rng.rand(*SHAPE) < 0.01, 30, 1)).astype(np.float32)


@pytest.mark.parametrize("build", [plain, branched])
@pytest.mark.parametrize("data", [images(*SHAPE), heavy_tails()], ids=["normal", "heavy tails"])
def test_no_single_method_is_better(build: Any, data: np.ndarray) -> None:
    setting = Setting(build(mx.sym.var("data")), data)
    found = setting.level(setting.chosen())
    assert all(found >= setting.level(setting.make(method, {})) for method in METHODS)


def outliers() -> Setting:
    """Return a network that reads one input channel, far larger than all others, with almost no weight."""
    data = images(*SHAPE)
    data[:, 0, 0, 0] *= 300
    symbol = dense(relu(conv(mx.sym.var("data"), "c1", kernel=1, pad=(0, 0))), "fc", 10)
    setting = Setting(symbol, data)
    return setting


def test_where_outliers_spoil_minmax_another_method_is_taken() -> None:
    # The outliers are few, and what the layers make of them is cut away.
    x = mx.sym.clip(conv(mx.sym.var("data"), "c1"), a_min=-2, a_max=2, name="cut")
    setting = Setting(conv(x, "c2"), outliers().data)
    plan = setting.chosen()
    assert setting.level(plan) >= setting.level(setting.make("minmax", {})) + 6
    assert plan.tensors["data"].threshold < 0.5 * setting.make("minmax", {}).tensors["data"].threshold


def test_where_large_values_matter_nothing_is_cut_off() -> None:
    setting = outliers()
    plan = setting.chosen()
    assert plan.tensors["data"].threshold >= 0.9 * np.abs(setting.data).max()


def test_every_method_is_tried_once_and_then_the_choice_by_names_of_tensors() -> None:
    setting = Setting(branched(mx.sym.var("data")), heavy_tails())
    setting.chosen()
    assert [(method, {}) for method in METHODS] == setting.asked[: len(METHODS)]
    ((default, tensors),) = setting.asked[len(METHODS) :]
    assert tensors
    assert default not in tensors.values()
    plan = setting.make(default, {})
    assert set(tensors) <= set(plan.tensors)
    assert set(tensors.values()) <= set(METHODS)
    assert not set(tensors) & set(setting.network.params)
