"""An int8 network whose LSTM layers do not run on a CPU has float32 ones there, with the weights of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.lowering import isa as levels
from mxquant.lowering import level_warnings
from mxquant.lowering.trial import lstm_failure
from mxquant.model import quantized_model
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, text_of
from tests.levels import available
from tests.lowering.int8_lstm import BATCH, LEVELS, STEPS, UNITS, WIDTH, Process
from tests.networks import dense, forward, images, random_params, sqnr

FAILURE = "MXNet's int8 LSTM does not run on CPUs of level 'vnni'"
INT8 = "_contrib_quantized_rnn"


class Shape(NamedTuple):
    """An LSTM."""

    layers: int = 1
    both: bool = False
    fed: bool = False

    @property
    def names(self) -> Tuple[str, ...]:
        """Return the names of the plan's layers."""
        return (*(f"rnn_layer{number}" for number in range(self.layers - 1)), "rnn")

    def data(self, batch: int = BATCH, steps: int = STEPS, seed: int = 1) -> Dict[str, np.ndarray]:
        """Return data, and states to begin with where they are fed."""
        shape = (self.layers * (1 + self.both), batch, UNITS)
        begin = {"state": images(*shape, seed=seed + 1).clip(-1, 1) / 3, "cell": images(*shape, seed=seed + 2)}
        return {"data": images(steps, batch, WIDTH, seed=seed), **(begin if self.fed else {})}

    def network(self) -> Tuple[Any, Dict[str, Any]]:
        """Return a network that returns all results, and the arguments that name it to mxquant."""
        ways = 1 + self.both
        zeros = [mx.sym.zeros((self.layers * ways, 0, UNITS)) for _ in range(2)]
        begin = [mx.sym.var("state"), mx.sym.var("cell")] if self.fed else zeros
        attrs = {"state_size": UNITS, "num_layers": self.layers, "bidirectional": self.both, "state_outputs": True}
        symbol = mx.sym.RNN(mx.sym.var("data"), mx.sym.var("vector"), *begin, mode="lstm", name="rnn", **attrs)
        rng = np.random.RandomState(0)
        widths = [WIDTH, *[UNITS * ways] * (self.layers - 1)]
        weights = [rng.randn(4 * UNITS * n) / np.sqrt(n) for w in widths for _ in range(ways) for n in (w, UNITS)]
        vector = np.concatenate([*weights, rng.randn(8 * UNITS * self.layers * ways) / 10])
        options = {"arg_params": {"vector": mx.nd.array(vector)}, "data_names": list(self.data())}
        return mx.sym.Group(list(symbol)), options


SHAPES = (Shape(), Shape(both=True), Shape(fed=True), Shape(layers=2), Shape(layers=2, both=True, fed=True))


def quantized(shape: Shape) -> Tuple[Any, Dict[str, Any], Any]:
    symbol, options = shape.network()
    model = mxquant.quantize(symbol, [tuple(shape.data().values())], accuracy="fast", isa="avx512", **options)
    assert {model.plan.layers[name].precision for name in shape.names} == {"int8"}
    return symbol, options, model


def outputs(model: Any, **data: np.ndarray) -> List[np.ndarray]:
    return forward(model.symbol, model.arg_params, model.aux_params, **data)


def operators(model: Any) -> List[str]:
    return [node.op for node in graph_of(model.symbol).operators]


def pretend(monkeypatch: pytest.MonkeyPatch, failure: Optional[str]) -> None:
    """Take this CPU for one that has the operator, or has not."""
    for module in (quantized_model, level_warnings):
        monkeypatch.setattr(module, "lstm_failure", lambda: failure)


@pytest.fixture
def without_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this CPU for one with VNNI, whatever it is."""
    pretend(monkeypatch, FAILURE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[Path, Any, Dict[str, Any], Any]]:
    """Return where a network of two layers is saved, its fp32 form, and itself."""
    path = tmp_path_factory.mktemp("saved") / "net"
    symbol, options, model = quantized(Shape(layers=2))
    model.save(path)
    yield path, symbol, options, model


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_loaded_network_runs_with_the_users_weights(shape: Shape, tmp_path: Path, without_operator: None) -> None:
    symbol, options, model = quantized(shape)
    model.save(tmp_path / "net")
    with pytest.warns(UserWarning, match=FAILURE):
        loaded = mxquant.load(tmp_path / "net")
    assert INT8 not in operators(loaded) and operators(loaded).count("RNN") == shape.layers
    for sizes in ((BATCH, STEPS), (1, STEPS), (7, 3)):
        data = shape.data(*sizes, seed=11)
        expected = forward(symbol, options["arg_params"], {}, **data)
        found = outputs(loaded, **data)
        assert len(found) == 3 and min(map(sqnr, expected, found)) > 100


def test_the_warning_names_layers_level_and_remedy(saved: Any, without_operator: None) -> None:
    with pytest.warns(UserWarning) as caught:
        mxquant.load(saved[0])
    (text,) = (str(each.message) for each in caught if "LSTM" in str(each.message))
    assert text == (
        f"{FAILURE}: 'rnn_layer0', 'rnn' are float32 here; plan with isa='portable' for networks that are to run "
        "everywhere"
    )


def test_its_plan_says_float32_and_why(saved: Any, without_operator: None) -> None:
    with pytest.warns(UserWarning, match=FAILURE):
        plan = mxquant.load(saved[0]).plan
    before = saved[-1].plan
    assert set(plan.layers) == set(before.layers)
    for name, layer in plan.layers.items():
        if name not in ("rnn_layer0", "rnn"):
            assert layer == before.layers[name]
            continue
        assert (layer.precision, layer.reason) == ("float32", f"{FAILURE}; rebuilt in float32")
        assert layer.recurrent is None
        assert (layer.op, layer.contains) == (before.layers[name].op, before.layers[name].contains)


def test_it_is_saved_and_loaded_as_it_is(saved: Any, tmp_path: Path, without_operator: None) -> None:
    with pytest.warns(UserWarning, match=FAILURE):
        loaded = mxquant.load(saved[0])
    loaded.save(tmp_path / "again")
    again = mxquant.load(tmp_path / "again")  # A warning would be an error.
    assert again.plan == loaded.plan and again.on_this_cpu() is again
    data = Shape(layers=2).data(seed=5)
    for one, other in zip(outputs(loaded, **data), outputs(again, **data)):
        np.testing.assert_array_equal(one, other)


def test_a_compact_file_has_the_weights_of_int8(saved: Any, tmp_path: Path, without_operator: None) -> None:
    _, symbol, options, model = saved
    model.save(tmp_path / "compact", compact=True)
    with pytest.warns(UserWarning, match=FAILURE):
        loaded = mxquant.load(tmp_path / "compact")
    data = Shape(layers=2).data(seed=5)
    expected = forward(symbol, options["arg_params"], {}, **data)
    assert 30 < min(map(sqnr, expected, outputs(loaded, **data))) < 60


def test_the_block_of_an_int8_network_has_them_too(saved: Any, without_operator: None) -> None:
    _, symbol, options, model = saved
    with pytest.warns(UserWarning, match=FAILURE):
        block = model.as_block()
    data = Shape(layers=2).data(seed=5)
    (expected,) = forward(symbol[0], options["arg_params"], {}, **data)
    assert sqnr(expected, block(mx.nd.array(data["data"]))[0].asnumpy()) > 100


def test_compare_looks_at_what_runs_here(saved: Any, without_operator: None) -> None:
    path, symbol, options, model = saved
    data = Shape(layers=2).data(seed=5)["data"]
    with pytest.warns(UserWarning, match=FAILURE):
        loaded = mxquant.load(path)
    for each in (model, loaded):
        found = mxquant.compare(symbol, each, data, **options)
        assert min(output.sqnr for output in found.outputs) > 100
        assert min(output.int8_simulated for output in found.outputs) > 100


def test_other_layers_stay_int8(tmp_path: Path, without_operator: None) -> None:
    zeros = [mx.sym.zeros((1, 0, UNITS)) for _ in range(2)]
    attrs = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, "name": "rnn"}
    before = dense(mx.sym.var("data"), "before", WIDTH, flatten=False)
    symbol = dense(mx.sym.mean(mx.sym.RNN(before, mx.sym.var("vector"), *zeros, **attrs), axis=0), "after")
    data = images(STEPS, BATCH, WIDTH)
    args, aux = random_params(symbol, data=data.shape)
    args["vector"] = mx.nd.array(np.random.RandomState(1).randn(args["vector"].size) / np.sqrt(UNITS))
    options = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", isa="avx512", **options)
    model.save(tmp_path / "net")
    with pytest.warns(UserWarning, match="'rnn' are float32 here"):
        loaded = mxquant.load(tmp_path / "net")
    names = ("before", "rnn", "after")
    assert [model.plan.layers[name].precision for name in names] == ["int8"] * 3
    assert [loaded.plan.layers[name].precision for name in names] == ["int8", "float32", "int8"]
    (expected,), (found,) = forward(symbol, args, aux, data=data), outputs(loaded, data=data)
    assert 30 < sqnr(expected, found) < 60


def test_where_the_operator_runs_nothing_changes(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, *_, model = saved
    pretend(monkeypatch, None)
    loaded = mxquant.load(path)  # A warning would be an error.
    assert loaded.plan == model.plan and operators(loaded).count(INT8) == 2
    assert text_of(loaded.symbol) == text_of(model.symbol)
    assert model.on_this_cpu() is model and loaded.on_this_cpu() is loaded


def test_the_operator_stays_where_all_cpus_have_it(saved: Any) -> None:
    *_, model = saved
    others = [level for level in LEVELS if level != levels.detect()]
    assert model.on_cpus(others) is model
    assert operators(model.on_cpus([*others, "amx"])).count(INT8) == 0
    assert "level 'amx'" in model.on_cpus([*others, "amx"]).plan.layers["rnn"].reason


def test_networks_without_an_int8_lstm_are_not_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def asked() -> None:
        raise AssertionError("nothing depends on it")

    symbol = dense(mx.sym.var("data"), "fc")
    args, aux = random_params(symbol, data=(8, 16))
    model = mxquant.quantize(symbol, images(8, 16), arg_params=args, aux_params=aux)
    for module in (quantized_model, level_warnings):
        monkeypatch.setattr(module, "lstm_failure", asked)
    model.save(tmp_path / "net")
    mxquant.load(tmp_path / "net").as_block()


def test_a_simulation_stays_one(saved: Any, without_operator: None) -> None:
    _, symbol, options, model = saved
    simulated = mxquant.lower(symbol, model.plan, target="simulate", **options)
    assert simulated.on_this_cpu() is simulated


@pytest.mark.skipif(lstm_failure() is None, reason="this CPU has the operator")
def test_this_cpu_without_the_operator_is_found(saved: Any) -> None:
    path, symbol, options, _ = saved
    with pytest.warns(UserWarning, match=f"level '{levels.detect()}': 'rnn_layer0', 'rnn' are float32 here"):
        loaded = mxquant.load(path)
    data = Shape(layers=2).data(seed=5)
    expected = forward(symbol, options["arg_params"], {}, **data)
    assert min(map(sqnr, expected, outputs(loaded, **data))) > 100


@pytest.mark.slow
@pytest.mark.parametrize("level", list(available()))
def test_a_plan_for_every_cpu_runs_at_each_level(level: str) -> None:
    symbol, options = Shape().network()
    data = Shape().data()
    model = mxquant.quantize(symbol, [tuple(data.values())], isa=levels.PORTABLE, **options)
    assert model.plan.layers["rnn"].reason.startswith("MXNet's int8 LSTM does not run on every CPU")
    with Process(level) as process:
        found = process.forward(model.symbol, model.arg_params, model.aux_params, **data)
    assert min(map(sqnr, forward(symbol, options["arg_params"], {}, **data), found)) > 100
