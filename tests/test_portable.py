"""A plan with isa='portable' makes one int8 network for all CPUs: the same codes, as good everywhere.

Each network is run by MXNet in a process of its own for each level of int8 instructions that this CPU has.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.cli.running import run
from mxquant.lowering.stored_weights import EVEN, NEARLY_EVEN
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from tests.levels import available, environment
from tests.lowering.test_simulate import RUN
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

F = mx.sym
SHAPE = (4, 3, 16, 16)
LEVELS = sorted(available())
# Codes near a half: float32 is summed in another order at other levels, and the simulation has other biases.
ONE_CODE_DB = 45.0
# The largest weight of a channel, where nearly all codes are even, is 127 steps here and 128 there.
NEARLY_DB = 40.0


def relu6(data: Any) -> Any:
    return F.clip(data, a_min=0, a_max=6)


def pooled(data: Any) -> Any:
    return F.Flatten(F.Pooling(data, global_pool=True, kernel=(1, 1), pool_type="avg"))


def residual(data: Any) -> Any:
    x = relu(conv(data, "c0", 16))
    for index in range(2):
        x = relu(conv(relu(conv(x, f"a{index}", 16)), f"b{index}", 16) + x)
    return dense(pooled(x), "fc", 10)


def mobile(data: Any) -> Any:
    x = relu6(conv(data, "c0", 16, stride=(2, 2)))
    for index in range(2):
        y = relu6(conv(x, f"up{index}", 32, 1))
        y = conv(relu6(conv(y, f"dw{index}", 32, num_group=32)), f"down{index}", 16, 1)
        x = y if index == 0 else x + y
    return dense(pooled(relu6(conv(x, "last", 32, 1))), "fc", 10)


def slopes(data: Any) -> Any:
    x = F.LeakyReLU(conv(data, "c0", 16), act_type="prelu", name="p0")
    x = F.LeakyReLU(conv(x, "c1", 16), act_type="prelu", name="p1")
    return dense(F.Flatten(conv(x, "c2", 16, stride=(4, 4))), "fc", 10)


def padded(data: Any) -> Any:
    return conv(conv(conv(data, "c0", 12), "c1", 12), "c2", 4)


def dense_only(data: Any) -> Any:
    return dense(F.tanh(dense(relu(dense(data, "f0", 32)), "f1", 16)), "f2", 10)


def grouped(data: Any) -> Any:
    """Return layers whose data cannot have a channel of zeros: behind a sigmoid, and read by groups."""
    return conv(conv(F.sigmoid(conv(data, "c0", 16)) - 0.4, "g", 16, num_group=4), "c1", 4)


def depthwise(data: Any) -> Any:
    """Return layers of nine weights for each channel, of which the largest is one, on signed data."""
    return conv(F.tanh(conv(F.tanh(conv(data, "c0", 16)), "dw", 16, num_group=16)), "c1", 4)


def stem(data: Any) -> Any:
    x = relu(conv(data, "c0", 16))
    for index in range(3):
        x = relu(conv(x, f"c{index + 1}", 24))
    return dense(pooled(x), "fc", 10)


def leaky(data: Any) -> Any:
    return F.LeakyReLU(data, act_type="leaky", slope=0.1)


def dense_block(data: Any) -> Any:
    """Return what a DenseNet has, with odd numbers of channels, read as signed and as unsigned data."""
    x = conv(data, "c0", 15)
    for index in range(3):
        normal = F.BatchNorm(x, fix_gamma=False, name=f"bn{index}")
        narrow = leaky(conv(leaky(normal), f"narrow{index}", 16, 1))
        x = F.Concat(x, conv(narrow, f"d{index}", 9 + index), dim=1)
    x = F.Concat(conv(relu(x), "positive", 16), conv(x, "signed", 16), dim=1)
    return dense(pooled(x), "fc", 10)


def mask(data: Any) -> Any:
    """Return a U-Net: maps made larger again are joined to what they came from."""
    fine = leaky(conv(data, "fine", 12))
    middle = leaky(conv(fine, "middle", 16, stride=(2, 2)))
    coarse = leaky(conv(middle, "coarse", 24, stride=(2, 2)))
    for index, (skip, filters) in enumerate(((middle, 16), (fine, 12))):
        grown = F.UpSampling(coarse, scale=2, sample_type="nearest")
        coarse = leaky(conv(F.Concat(grown, skip, dim=1), f"up{index}", filters))
    return conv(coarse, "mask", 3, 1)


class Case(NamedTuple):
    build: Callable[[Any], Any]
    # What its layers are, beside those whose codes are the network's own.
    kinds: Set[str]
    # Agreement in dB where some are nearly even.
    floor: float = NEARLY_DB


CASES = {
    "residual": Case(residual, {"even"}),
    "mobile": Case(mobile, {"even"}),
    "prelu": Case(slopes, {"even"}),
    "padded, signed": Case(padded, {"even"}),
    "dense": Case(dense_only, set()),
    "in groups behind a sigmoid": Case(grouped, {"even", "nearly even"}),
    "depthwise, signed": Case(depthwise, {"even", "nearly even"}, 35.0),
    "a stem in float32": Case(stem, {"float32"}),
    "a dense block": Case(dense_block, {"even"}),
    "a U-Net": Case(mask, {"even"}),
}


class Ran(NamedTuple):
    plan: QuantPlan
    exact: np.ndarray
    simulated: np.ndarray
    outputs: Dict[str, np.ndarray]


@lru_cache(maxsize=None)
def material(name: str) -> Tuple[Any, Dict[str, Any], np.ndarray]:
    symbol, data = CASES[name].build(F.var("data")), images(*SHAPE)
    args, aux = random_params(symbol, data=SHAPE)
    # Data that fill their range make rounding of weights what counts.
    return symbol, {"arg_params": args, "aux_params": aux}, np.sign(data) if "stem" in name else data


def plan_of(name: str, isa: str) -> QuantPlan:
    symbol, params, data = material(name)
    return mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, **params), isa=isa, **params)


def run_at(level: str, prefixes: Sequence[str]) -> List[np.ndarray]:
    """Run saved networks in a process at a level."""
    command = [sys.executable, "-W", "ignore", "-c", RUN, *prefixes]
    variables = environment(level, MXNET_SUBGRAPH_BACKEND="NONE")
    subprocess.run(command, env=variables, check=True, timeout=300, capture_output=True)
    found = []
    for prefix in prefixes:
        with np.load(f"{prefix}-outputs.npz") as outputs:
            found.append(outputs["arr_0"])
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: Any) -> Dict[str, Ran]:
    if not LEVELS:
        pytest.skip("this CPU has one level")
    folder, found = tmp_path_factory.mktemp("portable"), {}
    prefixes = [str(folder / str(number)) for number in range(len(CASES))]
    for prefix, name in zip(prefixes, CASES):
        symbol, params, data = material(name)
        plan = plan_of(name, "portable")
        mxquant.lower(symbol, plan, **params).save(prefix)
        np.save(f"{prefix}-data.npy", data)
        simulation = mxquant.lower(symbol, plan, target="simulate", **params)
        simulated = forward(simulation.symbol, *map(dict, (simulation.arg_params, simulation.aux_params)), data=data)[0]
        found[name] = Ran(plan, forward(symbol, *params.values(), data=data)[0], simulated, {})
    for level in LEVELS:
        for name, output in zip(CASES, run_at(level, prefixes)):
            found[name].outputs[level] = output
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_plan_has_the_layers_that_the_case_is_about(name: str, ran: Dict[str, Ran]) -> None:
    assert ran[name].plan.isa == "portable"
    heavy = [layer for layer in ran[name].plan.layers.values() if layer.op in ("Convolution", "FullyConnected")]
    kinds = {EVEN: "even", NEARLY_EVEN: "nearly even", None: "float32"}
    assert {kinds[layer.weight_codes] for layer in heavy if layer.weight_codes in kinds} == CASES[name].kinds
    assert sum(layer.precision == "int8" for layer in heavy) >= len(heavy) - 1


@pytest.mark.parametrize("name", CASES)
def test_outputs_at_all_levels_are_the_same(name: str, ran: Dict[str, Ran]) -> None:
    first, *others = (ran[name].outputs[level] for level in LEVELS)
    _, kinds, floor = CASES[name]
    for other in others:
        if "nearly even" in kinds:
            assert sqnr(first, other) > floor
        elif "float32" in kinds:
            assert sqnr(first, other) > ONE_CODE_DB
        else:
            np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("name", CASES)
def test_outputs_at_all_levels_are_as_good(name: str, ran: Dict[str, Ran]) -> None:
    found = [sqnr(ran[name].exact, output) for output in ran[name].outputs.values()]
    assert len(found) == len(LEVELS)
    assert min(found) >= 25 and max(found) <= min(found) + 0.3


@pytest.mark.parametrize("name", CASES)
def test_the_simulation_here_is_what_is_computed_at_all_levels(name: str, ran: Dict[str, Ran]) -> None:
    floor = CASES[name].floor if "nearly even" in CASES[name].kinds else ONE_CODE_DB
    for output in ran[name].outputs.values():
        assert sqnr(output, ran[name].simulated) > floor


@pytest.mark.parametrize("name", CASES)
def test_a_plan_for_avx2_is_the_same_network(name: str) -> None:
    symbol, params, _ = material(name)
    plans = [plan_of(name, isa) for isa in ("portable", "avx2", "avx512")]
    one, *others = (mxquant.lower(symbol, plan, **params) for plan in plans)
    assert [replace(plan, isa="portable") for plan in plans] == plans[:1] * 3
    for other in others:
        assert one.arg_params.keys() == other.arg_params.keys()
        for key, value in one.arg_params.items():
            np.testing.assert_array_equal(other.arg_params[key].asnumpy(), value.asnumpy())


def test_the_command_makes_such_a_network(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    symbol, params, data = material("residual")
    mx.model.save_checkpoint("net", 0, symbol, *params.values())
    np.save("data.npy", data)
    done = run(["quantize", "-m", "net", "-d", "data.npy", "-o", "int8", "--accuracy", "fast", "--isa", "portable"])
    assert done == 0 and "all CPUs" in capsys.readouterr().out
    found, expected = mxquant.load("int8"), mxquant.quantize(symbol, data, accuracy="fast", isa="portable", **params)
    assert found.plan == expected.plan and found.plan.isa == "portable"
    assert found.arg_params.keys() == expected.arg_params.keys()
    for key, value in expected.arg_params.items():
        np.testing.assert_array_equal(found.arg_params[key].asnumpy(), value.asnumpy())
