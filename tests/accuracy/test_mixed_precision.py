"""The cheapest layers that reach a target stay in float32; what was measured once is not measured again."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any, FrozenSet, List

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant.accuracy.mixed_precision import search
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

NOISE = {"a": 8.0, "b": 4.0, "c": 2.0, "d": 1.0, "e": 0.5}
SECONDS = {"a": 1.0, "b": 1.0, "c": 0.1, "d": 1.0, "e": 1.0}


class Network:
    """Its quality is what the noise of its int8 layers leaves of 20; it counts how often it is measured."""

    def __init__(self) -> None:
        self.asked: List[FrozenSet[str]] = []

    def __call__(self, float32: FrozenSet[str]) -> float:
        self.asked.append(float32)
        return 20 - sum(noise for name, noise in NOISE.items() if name not in float32)


def test_nothing_is_left_in_float32_where_int8_is_good_enough() -> None:
    network = Network()
    found = search(network, 4.5, NOISE, SECONDS)
    assert (found.float32, found.met, found.value) == ((), True, 4.5)
    assert network.asked == [frozenset()]
    assert "int8 everywhere reaches 4.5" in found.reason


@pytest.mark.parametrize("target", [5, 8, 12, 15, 18, 19.6, 20])
def test_no_layer_could_go_back_to_int8(target: float) -> None:
    network = Network()
    found = search(network, target, NOISE, SECONDS)
    assert found.met
    assert found.value == network(frozenset(found.float32)) >= target
    for fewer in combinations(found.float32, len(found.float32) - 1):
        assert network(frozenset(fewer)) < target


def test_noise_is_weighed_against_time() -> None:
    assert search(Network(), 6.0, NOISE, SECONDS).float32 == ("c",)


def test_a_target_that_no_choice_reaches_gives_the_best_and_says_so() -> None:
    found = search(Network(), 21, NOISE, SECONDS)
    assert (found.met, found.value, found.float32) == (False, 20, tuple(sorted(NOISE)))
    assert found.reason == "no choice of layers reaches 21; the best that was found reaches 20"


def test_the_curve_has_every_measurement_cheapest_first() -> None:
    network = Network()
    found = search(network, 15, NOISE, SECONDS)
    assert len(found.curve) == len(set(network.asked)) == len(network.asked)
    seconds = [trial.seconds for trial in found.curve]
    assert seconds == sorted(seconds)
    assert found.curve[0].float32 == ()


def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    whole = Network()
    expected = search(whole, 15, NOISE, SECONDS)

    class Interrupted(Network):
        def __call__(self, float32: FrozenSet[str]) -> float:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().__call__(float32)

    with pytest.raises(KeyboardInterrupt):
        search(Interrupted(), 15, NOISE, SECONDS, key="k", checkpoint=path)
    rest = Network()
    assert search(rest, 15, NOISE, SECONDS, key="k", checkpoint=path) == expected
    assert len(rest.asked) == len(whole.asked) - 2
    with pytest.raises(InputError, match="is of another search"):
        search(Network(), 15, NOISE, SECONDS, key="other", checkpoint=path)
    path.write_text(json.dumps({"format": "something"}))
    with pytest.raises(InputError, match="is of another search"):
        search(Network(), 15, NOISE, SECONDS, key="k", checkpoint=path)


def problem() -> Any:
    x = mx.sym.var("data")
    for name in ("c1", "c2", "c3"):
        x = relu(conv(x, name))
    symbol = dense(mx.sym.Flatten(x), "fc", units=5)
    data = images(8, 3, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    return symbol, args, aux, data


def test_quantize_reaches_a_signal_to_noise_ratio() -> None:
    symbol, args, aux, data = problem()
    options = {"arg_params": args, "aux_params": aux, "accuracy": "fast", "isa": "vnni"}
    (reference,) = forward(symbol, args, aux, data=data)
    loose = mxquant.quantize(symbol, data, metric="sqnr>=5 dB", **options)
    assert loose.mixed_precision.float32 == ()
    plain = mxquant.quantize(symbol, data, **options)
    level = sqnr(reference, forward(plain.symbol, plain.arg_params, plain.aux_params, data=data)[0])
    tight = mxquant.quantize(symbol, data, metric=f"sqnr>={level + 2:.2f}", **options)
    assert tight.mixed_precision.met
    assert 0 < len(tight.mixed_precision.float32) < 4
    left = {name for name, layer in tight.plan.layers.items() if layer.precision == "float32"}
    assert set(tight.mixed_precision.float32) <= left
    simulated = tight.mixed_precision.value
    assert simulated >= level + 2


def test_quantize_keeps_a_metric_of_the_users(tmp_path: Path) -> None:
    symbol, args, aux, data = problem()
    (reference,) = forward(symbol, args, aux, data=data)
    labels = reference.argmax(axis=1)
    options = {"arg_params": args, "aux_params": aux, "accuracy": "fast"}
    top1 = mxquant.quantize(symbol, data, metric=(data, labels), max_drop=0.0, **options).mixed_precision
    assert top1.met
    assert top1.value == 1.0

    def nearness(block: Any) -> float:
        return -float(np.abs(block(mx.nd.array(data)).asnumpy() - reference).max())

    best = mxquant.quantize(
        symbol, data, metric=nearness, max_drop=1e-9, checkpoint=tmp_path / "c.json", **options
    ).mixed_precision
    assert set(best.float32) == {"c1", "c2", "c3", "fc"}
    assert len(json.loads((tmp_path / "c.json").read_text())["trials"]) == len(best.curve)
