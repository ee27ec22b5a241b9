"""The calibration run: every tensor once per batch, under the user's names, errors raised where they happen."""

from __future__ import annotations

import json
import resource
from typing import Any, Dict, List

import numpy as np
import pytest

from mxquant import CalibrationError, InputError
from mxquant.runtime.data import batches
from mxquant.runtime.mxnet import mx
from mxquant.runtime.runner import _Session, run, run_monitored
from mxquant.stats import Histogram, HistogramCollector
from mxquant.stats.collectors import Collector
from tests.networks import conv, dense, forward, images, network_of, random_params, relu

SHAPE = (4, 3, 8, 8)
data = mx.sym.var("data")


def run_all(symbol: Any, arrays: Any, collector: Any, **options: Any) -> Any:
    params = random_params(symbol, data=SHAPE)
    return run(network_of(symbol, *params), batches(arrays, ("data",)), collector, **options)


class Recorder(Collector):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.seen: Dict[str, List[np.ndarray]] = {}

    def observe(self, name: str, array: np.ndarray) -> None:
        self.seen.setdefault(name, []).append(array.copy())

    def __add__(self, other: object) -> Collector:
        raise NotImplementedError

    def __radd__(self, other: object) -> Collector:
        raise NotImplementedError


def test_every_output_is_seen_once_per_batch_with_its_value() -> None:
    symbol = dense(relu(conv(data, "conv"), "act"), "fc")
    recorder = Recorder()
    arrays = [images(*SHAPE, seed=seed) for seed in (1, 2)]
    assert run_all(symbol, arrays, recorder) == (8, 2)
    internals = symbol.get_internals()
    assert set(recorder.seen) == {"data", "conv_output", "act_output", "fc_output"}
    for number, array in enumerate(arrays):
        values = dict(zip(internals.list_outputs(), forward(internals, *random_params(symbol, data=SHAPE), data=array)))
        for name in ("conv_output", "act_output", "fc_output"):
            np.testing.assert_array_equal(recorder.seen[name][number], values[name])
        np.testing.assert_array_equal(recorder.seen["data"][number], array)


def test_several_outputs_of_one_operator_have_their_own_names() -> None:
    recorder = Recorder()
    run_all(mx.sym.Group(list(mx.sym.split(data, num_outputs=2, axis=2, name="sp"))), images(*SHAPE), recorder)
    assert set(recorder.seen) == {"data", "sp_output0", "sp_output1"}


def test_hidden_outputs_and_whole_numbers_are_not_seen() -> None:
    recorder = Recorder()
    symbol = mx.sym.Group([mx.sym.BatchNorm(data, name="bn"), mx.sym.cast(data, "int32", name="whole")])
    run_all(symbol, images(*SHAPE), recorder)
    assert set(recorder.seen) == {"data", "bn_output"}


def test_the_first_result_is_computed_where_nothing_reads_it_and_others_are_not_seen() -> None:
    states = [mx.sym.zeros((1, 0, 6)) for _ in range(2)]
    attrs = {"mode": "lstm", "state_size": 6, "num_layers": 1, "state_outputs": True, "name": "rnn"}
    rnn = mx.sym.RNN(mx.sym.reshape(data, (4, -1, 8), name="steps"), mx.sym.var("vector"), *states, **attrs)
    params, array, recorder = random_params(rnn[1], data=SHAPE), images(*SHAPE), Recorder()
    run_all(rnn[1], array, recorder)
    results = {"rnn_output", "rnn_state_output"}
    assert {name for name in recorder.seen if name.startswith("rnn")} == results
    for name, value in zip(("rnn_output", "rnn_state_output"), forward(rnn, *params, data=array)):
        np.testing.assert_allclose(recorder.seen[name][0], value, rtol=1e-5, atol=1e-6)


def test_only_the_tensors_asked_for() -> None:
    recorder = Recorder()
    run_all(relu(conv(data, "conv"), "act"), images(*SHAPE), recorder, tensors={"act_output"})
    assert set(recorder.seen) == {"act_output"}


@pytest.mark.parametrize(
    ("tensors", "fused"), [({"act_output", "fc_output"}, True), ({"conv_output", "act_output"}, False), (None, False)]
)
def test_operators_are_fused_where_that_hides_no_tensor_of_interest(tensors: Any, fused: bool) -> None:
    symbol = dense(relu(conv(data, "conv"), "act"), "fc")
    params = random_params(symbol, data=SHAPE)
    session = _Session(network_of(symbol, *params), mx.cpu(), tensors, collector=Recorder())
    operators = {node["op"] for node in json.loads(session.symbol.tojson())["nodes"]}
    assert ("_sg_mkldnn_conv" in operators) == fused
    recorder, array = Recorder(), images(*SHAPE)
    run_all(symbol, array, recorder, tensors=tensors)
    internals = symbol.get_internals()
    values = dict(zip(internals.list_outputs(), forward(internals, *params, data=array)))
    assert set(recorder.seen) == (tensors or {"data", "conv_output", "act_output", "fc_output"})
    for name, (seen,) in recorder.seen.items():
        np.testing.assert_allclose(seen, values[name], rtol=1e-5, atol=1e-6)


def test_a_layer_called_as_mxnet_calls_what_it_fuses_is_not_taken_for_that() -> None:
    first = mx.sym.InstanceNorm(data, mx.sym.var("g"), mx.sym.var("b"), name="sg_mkldnn_conv_0")
    symbol = conv(first, "conv")
    params, array, recorder = random_params(symbol, data=SHAPE), images(*SHAPE), Recorder()
    run_all(symbol, array, recorder, tensors={"conv_output"})
    (value,) = recorder.seen["conv_output"]
    np.testing.assert_allclose(value, forward(symbol, *params, data=array)[0], rtol=1e-5, atol=1e-6)


def test_what_is_added_in_place_is_seen_before() -> None:
    x = relu(conv(data, "c1"), "act")
    symbol = relu(conv(x, "c2") + x, "sum")
    params, array, recorder = random_params(symbol, data=SHAPE), images(*SHAPE), Recorder()
    run_all(symbol, array, recorder, tensors={"act_output", "sum_output"})
    expected = forward(mx.sym.Group([symbol.get_internals()["act_output"], symbol]), *params, data=array)
    for name, value in zip(("act_output", "sum_output"), expected):
        np.testing.assert_allclose(recorder.seen[name][0], value, rtol=1e-5, atol=1e-6)


def test_batches_of_different_shapes() -> None:
    collector = HistogramCollector()
    arrays = [images(4, 3, 8, 8), images(2, 3, 8, 8), images(4, 3, 6, 6)]
    assert run_all(relu(conv(data, "conv"), "act"), arrays, collector) == (10, 3)
    assert collector.histograms["data"].count == sum(array.size for array in arrays)


def test_batch_size_changes_nothing() -> None:
    array = images(6, 3, 8, 8)
    symbol = relu(conv(data, "conv"), "act")
    found = []
    for size in (1, 2, 6):
        collector = HistogramCollector()
        run_all(symbol, [array[i : i + size] for i in range(0, 6, size)], collector)
        found.append(collector.histograms["data"])
    assert found[0] == found[1] == found[2] == Histogram.of(array)


def test_labels_need_no_data() -> None:
    symbol = mx.sym.SoftmaxOutput(dense(data, "fc"), name="softmax")
    args, aux = random_params(symbol, data=(4, 8), softmax_label=(4,))
    recorder = Recorder()
    run(network_of(symbol, args, aux), batches(images(4, 8), ("data",)), recorder)
    assert set(recorder.seen) == {"data", "fc_output", "softmax_output"}


def test_progress_counts_examples() -> None:
    done: List[int] = []
    run_all(relu(data), [images(*SHAPE), images(*SHAPE)], Recorder(), progress=done.append)
    assert done == [4, 8]


class Failing(Recorder):
    """Fails when it sees an activation."""

    def observe(self, name: str, array: np.ndarray) -> None:
        if name == "act_output":
            raise ZeroDivisionError("in the collector")


def test_an_error_inside_the_monitor_is_not_lost() -> None:
    with pytest.raises(CalibrationError, match="batch 0: ZeroDivisionError"):
        run_all(relu(data, "act"), images(*SHAPE), Failing())


class Interrupted(Recorder):
    """Is interrupted when it sees an activation."""

    def observe(self, name: str, array: np.ndarray) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_all(relu(conv(data, "conv"), "act"), images(*SHAPE), Interrupted(), tensors={"act_output"})


def test_a_batch_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="cannot take these inputs"):
        run_all(conv(data, "conv"), images(4, 5, 8, 8), Recorder())


def test_no_batch_at_all() -> None:
    with pytest.raises(InputError, match="empty"):
        run_all(relu(data), [], Recorder())


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    symbol = relu(conv(data, "conv", 64), "act")
    array = images(4, 3, 64, 64)

    def peak(batch_count: int) -> int:
        run_all(symbol, (array for _ in range(batch_count)), HistogramCollector())
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    few = peak(20)
    # Each batch has 4 MB of activations per layer: leaked handles would hold 600 MB and more.
    assert peak(150) - few < 60_000


def test_a_callback_of_the_users_own_sees_the_network_unfused() -> None:
    names: List[str] = []
    symbol = relu(conv(data, "conv"), "act")
    network = network_of(symbol, *random_params(symbol, data=SHAPE))

    def callback(name: bytes, handle: Any) -> None:
        mx.nd.NDArray(mx.base.ctypes.cast(handle, mx.base.NDArrayHandle), writable=False)
        names.append(name.decode())

    run_monitored(network, batches(images(*SHAPE), ("data",)), callback)
    assert {"data", "conv_output", "act_output"} <= set(names)


def test_parameters_can_be_taken_so_that_there_is_no_second_copy() -> None:
    symbol = mx.sym.SoftmaxOutput(dense(relu(conv(data, "conv"), "act"), "fc"), name="softmax")
    found = []
    for take in (False, True):
        network, collector = network_of(symbol, *random_params(symbol, data=SHAPE)), HistogramCollector()
        run(network, batches([images(*SHAPE)] * 2, ("data",)), collector, take_params=take)
        found.append(collector.histograms)
        assert bool(network.params) != take
    assert found[0] == found[1]
