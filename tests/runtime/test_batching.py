"""Where examples lie in the inputs of a network, and whether it takes other batches, is found by shape inference."""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.doctor import diagnose
from mxquant.errors import InputError
from mxquant.runtime.batching import Batching, batch_of_array
from mxquant.runtime.data import batches
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import network_of
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

STEPS, BATCH, WIDTH, UNITS = 7, 4, 5, 8


def masked(data: Any) -> Any:
    """Return the mean of an LSTM's states over a sentence of given length; time comes first."""
    lengths = mx.sym.var("lengths")
    state, cell = mx.sym.var("state"), mx.sym.var("cell")
    options = {"mode": "lstm", "state_size": UNITS, "num_layers": 1, "name": "rnn"}
    found = mx.sym.RNN(dense(data, "before", WIDTH, flatten=False), mx.sym.var("vector"), state, cell, **options)
    found = mx.sym.SequenceMask(found, lengths, use_sequence_length=True)
    return dense(mx.sym.sum(found, axis=0), "after", 3)


def sentences(count: int = BATCH, seed: int = 0) -> Dict[str, np.ndarray]:
    return {
        "data": images(STEPS, count, WIDTH, seed=seed),
        "lengths": 1 + (3 * np.arange(count, dtype=np.float32) + seed) % STEPS,
        "state": np.zeros((1, count, UNITS), np.float32),
        "cell": np.zeros((1, count, UNITS), np.float32),
    }


def time_major() -> Tuple[Any, Dict[str, Any]]:
    symbol = masked(mx.sym.var("data"))
    args, aux = random_params(symbol, **{name: value.shape for name, value in sentences().items()})
    args["vector"] = mx.nd.array(np.random.RandomState(1).randn(args["vector"].size) / 3)
    return symbol, {"arg_params": args, "aux_params": aux}


def fixed(count: int = 2) -> Tuple[Any, Dict[str, Any]]:
    """Return a network into which a batch was multiplied."""
    x = relu(conv(mx.sym.var("data"), "c1", 8))
    x = mx.sym.Reshape(conv(x, "c2", 8), shape=(count, 8 * 8 * 8), name="flat")
    symbol = dense(x, "fc", 5)
    args, aux = random_params(symbol, data=(count, 3, 8, 8))
    return symbol, {"arg_params": args, "aux_params": aux}


def batching(symbol: Any, params: Dict[str, Any], shapes: Dict[str, Tuple[int, ...]], given: Any = None) -> Batching:
    return Batching.of(network_of(symbol, *params.values()), shapes, given)


def shapes_of(arrays: Dict[str, np.ndarray]) -> Dict[str, Tuple[int, ...]]:
    return {name: value.shape for name, value in arrays.items()}


@pytest.mark.parametrize("count", [1, 2, STEPS, BATCH])
def test_time_comes_first_where_lengths_and_states_say_so(count: int) -> None:
    expected = {"data": 1, "lengths": 0, "state": 1, "cell": 1}
    found = batching(*time_major(), shapes_of(sentences(count)))
    assert (dict(found.axes), found.only) == (expected, None)
    assert found.size(shapes_of(sentences(3))) == 3


def test_images_come_one_after_the_other() -> None:
    symbol = conv(mx.sym.var("data"), "c")
    args, aux = random_params(symbol, data=(2, 3, 8, 8))
    params = {"arg_params": args, "aux_params": aux}
    assert batching(symbol, params, {"data": (3, 3, 9, 9)}) == Batching({"data": 0})


def test_an_input_of_another_length_is_the_same_for_all_examples() -> None:
    symbol = mx.sym.broadcast_add(mx.sym.var("data"), mx.sym.expand_dims(mx.sym.var("shift"), axis=0))
    params: Dict[str, Any] = {"arg_params": {}, "aux_params": {}}
    assert batching(symbol, params, {"data": (4, 6, 2), "shift": (1, 2)}) == Batching({"data": 0, "shift": None})


def test_a_network_for_one_batch_is_found_out() -> None:
    symbol, params = fixed(2)
    assert batching(symbol, params, {"data": (2, 3, 8, 8)}) == Batching({"data": 0}, only=2)
    assert batch_of_array(network_of(symbol, *params.values()), "data", (3, 8, 8)) == 2
    with pytest.raises(InputError, match="made for one batch size or one image size"):
        batching(symbol, params, {"data": (3, 3, 8, 8)})


def test_axes_that_are_given_hold() -> None:
    symbol, params = time_major()
    shapes = shapes_of(sentences())
    assert batching(symbol, params, shapes, {"data": 1, "cell": -2}).axes["cell"] == 1
    with pytest.raises(InputError, match="batch_axes: the network has no input 'date'; its inputs are data, lengths"):
        batching(symbol, params, shapes, {"date": 0})
    for axis in (3, -4, "1", True):
        with pytest.raises(InputError, match=r"batch_axes\['data'\] is .*, but its data have shape \(7, 4, 5\)"):
            batching(symbol, params, shapes, {"data": axis})


def iterator(layout: str, count: int = 6) -> Any:
    """Return an iterator over sentences whose last batch is filled up with values of another size."""

    class Sentences(mx.io.DataIter):
        def __init__(self) -> None:
            super().__init__(BATCH)
            self.at = 0

        @property
        def provide_data(self) -> List[Any]:
            shapes = shapes_of(sentences())
            named = {"data": layout, "lengths": "N", "state": "LNC", "cell": "LNC"}
            return [mx.io.DataDesc(name, shapes[name], layout=named[name]) for name in shapes]

        provide_label: Any = ()

        def reset(self) -> None:
            self.at = 0

        def next(self) -> Any:
            if self.at >= count:
                raise StopIteration
            found = sentences(BATCH, seed=self.at)
            pad = max(0, self.at + BATCH - count)
            self.at += BATCH
            for name, axis in (("data", 1), ("state", 1), ("cell", 1)) if pad else ():
                found[name][(slice(None),) * axis + (slice(BATCH - pad, None),)] = 1e4
            return mx.io.DataBatch([mx.nd.array(value) for value in found.values()], pad=pad)

    return Sentences()


@pytest.mark.parametrize("layout", ["TNC", "NCHW"])
def test_what_fills_a_batch_up_is_cut_where_the_examples_lie(layout: str) -> None:
    symbol, params = time_major()
    network = network_of(symbol, *params.values())
    found = list(batches(iterator(layout), list(sentences()), network=network))
    assert [batch.size for batch in found] == [4, 2]
    assert {name: value.shape for name, value in found[1].arrays.items()} == shapes_of(sentences(2))
    assert max(np.abs(value).max() for value in found[1].arrays.values()) < 100
    statistics = mxquant.calibrate(symbol, iterator(layout), data_names=list(sentences()), **params)
    assert statistics.num_examples == 6 and statistics["data"].maximum < 100


@pytest.mark.parametrize("accuracy", ["fast", "balanced", "best"])
def test_time_major_networks_are_quantized_by_whole_sentences(accuracy: str) -> None:
    symbol, params = time_major()
    data = [sentences(BATCH, seed) for seed in range(6)]
    model = mxquant.quantize(symbol, data, accuracy=accuracy, num_calib_examples=18, **params)
    unseen = sentences(16, seed=99)
    (expected,) = forward(symbol, params["arg_params"], {}, **unseen)
    model = model.on_this_cpu()
    (found,) = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), **unseen)
    assert sqnr(expected, found) > 25
    compared = mxquant.compare(symbol, model, data, num_examples=10, **params)
    assert compared.num_examples == 10 and compared.outputs[0].sqnr > 25
    assert diagnose(symbol, data, int8=model, num_examples=10, **params).num_examples == 10


@pytest.mark.parametrize("accuracy", ["fast", "balanced", "best"])
@pytest.mark.parametrize("kind", ["batches", "one array"])
def test_a_network_for_one_batch_is_quantized_and_examined(accuracy: str, kind: str) -> None:
    symbol, params = fixed(2)
    data = images(8, 3, 8, 8)
    given = data if kind == "one array" else [data[i : i + 2] for i in range(0, 8, 2)]
    model = mxquant.quantize(symbol, given, accuracy=accuracy, **params)
    unseen = images(2, 3, 8, 8, seed=9)
    (expected,) = forward(symbol, params["arg_params"], {}, data=unseen)
    (found,) = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=unseen)
    assert sqnr(expected, found) > 25
    assert mxquant.compare(symbol, model, given, **params).outputs[0].sqnr > 25
    assert mxquant.sensitivity(symbol, given, **params).all > 25
    assert diagnose(symbol, given, accuracy=accuracy, **params).sqnr > 25
    assert mxquant.quantize(symbol, given, accuracy=accuracy, metric="sqnr>=20 dB", **params).mixed_precision.met


def test_batches_of_such_a_network_are_neither_cut_nor_joined(caplog: pytest.LogCaptureFixture) -> None:
    symbol, params = fixed(2)
    data = images(7, 3, 8, 8)
    with caplog.at_level(logging.WARNING):
        statistics = mxquant.calibrate(symbol, mx.io.NDArrayIter(data, batch_size=2), **params)
    assert statistics.num_examples == 6
    assert "a batch of 1 examples is left out: the network takes 2 at a time" in caplog.text
    assert mxquant.calibrate(symbol, data, num_calib_examples=3, **params).num_examples == 4


def test_other_batches_of_it_are_refused() -> None:
    symbol, params = fixed(2)
    with pytest.raises(InputError, match=r"layer 'flat' \(Reshape\) makes shape \(2, 512\) of \(4, 8, 8, 8\)"):
        mxquant.calibrate(symbol, [images(4, 3, 8, 8)], **params)


def test_steps_are_not_taken_for_examples_where_a_network_with_lengths_takes_one_batch_only() -> None:
    data, lengths = mx.sym.var("data"), mx.sym.var("lengths")
    found = mx.sym.SequenceReverse(data, lengths, use_sequence_length=True)
    # The examples are channels to it, so that it takes no other number of them, but any number of steps.
    symbol = mx.sym.Convolution(found, kernel=(1,), num_filter=3, name="conv")
    shapes = {"data": (STEPS, BATCH, WIDTH), "lengths": (BATCH,)}
    args, aux = random_params(symbol, **shapes)
    assert batching(symbol, {"args": args, "aux": aux}, shapes) == Batching({"data": 1, "lengths": 0}, BATCH)
    batch = {"data": images(*shapes["data"]), "lengths": np.full(BATCH, STEPS, np.float32)}
    mxquant.quantize(symbol, [batch, batch], arg_params=args, method="mse", accuracy="balanced")


@pytest.mark.parametrize("lengths", [[1, 2, 3, STEPS + 1], [1, -0.5, 2, 3]])
def test_lengths_beyond_their_sequences_are_refused(lengths: List[float]) -> None:
    symbol, params = time_major()
    network = network_of(symbol, *params.values())
    data = {**sentences(), "lengths": np.array(lengths, np.float32)}
    message = r"\(SequenceMask\): input 'lengths' has lengths from .*, but its sequences have 7 steps"
    with pytest.raises(InputError, match=message):
        list(batches([data], list(data), network=network))


def test_shapes_of_parameters_are_known_when_a_run_has_taken_them() -> None:
    moved = mx.sym.broadcast_add(mx.sym.Reshape(mx.sym.var("data"), shape=(0, 3, -1)), mx.sym.var("shift_weight"))
    symbol = dense(moved, "fc", 5)
    args, aux = random_params(dense(mx.sym.var("data"), "fc", 5), data=(2, 12))
    args["shift_weight"] = mx.nd.ones((1, 3, 4))
    found = mxquant.calibrate(symbol, images(7, 12), num_calib_examples=5, arg_params=args, aux_params=aux)
    assert found.num_examples == 5


def test_the_accuracy_of_such_a_network_is_measured_batch_by_batch() -> None:
    symbol, params = fixed(2)
    data = images(7, 3, 8, 8)
    exact = np.concatenate(
        [forward(symbol, params["arg_params"], {}, data=data[[i, min(i + 1, 6)]])[0] for i in range(0, 7, 2)]
    )
    labels = exact[:7].argmax(axis=1)
    found = mxquant.quantize(symbol, data, accuracy="fast", metric=(data, labels), max_drop=0.0, **params)
    assert found.mixed_precision.met and found.mixed_precision.value == 1
    with pytest.raises(InputError, match=r"layer 'flat' \(Reshape\) makes shape \(2, 512\) of \(2, 8, 9, 9\)"):
        larger = images(4, 3, 9, 9)
        mxquant.quantize(symbol, data, accuracy="fast", metric=(larger, labels[:4]), max_drop=0.0, **params)
