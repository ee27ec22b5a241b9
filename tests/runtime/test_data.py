"""Calibration data in every form that users have them in."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from mxquant import InputError
from mxquant.runtime.batch import Batch
from mxquant.runtime.data import Sample, batches, peek
from mxquant.runtime.mxnet import mx

EXAMPLES = np.arange(10 * 3, dtype=np.float32).reshape(10, 3)
LABELS = np.arange(10)


def sizes(data: Any, inputs: Any = ("data",), **options: Any) -> List[int]:
    return [batch.size for batch in batches(data, inputs, **options)]


def joined(data: Any, name: str = "data", inputs: Any = ("data",), **options: Any) -> np.ndarray:
    return np.concatenate([batch.arrays[name] for batch in batches(data, inputs, **options)])


def loader(*arrays: Any) -> Any:
    return mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(*arrays), batch_size=4)


@pytest.mark.parametrize(
    "data",
    [
        EXAMPLES,
        mx.nd.array(EXAMPLES),
        [EXAMPLES[:4], EXAMPLES[4:]],
        [mx.nd.array(EXAMPLES[:4]), mx.nd.array(EXAMPLES[4:])],
        [(EXAMPLES, LABELS)],
        [[EXAMPLES]],
        [{"data": EXAMPLES, "unused": LABELS}],
        mx.io.NDArrayIter(EXAMPLES, LABELS, batch_size=4),
        mx.io.NDArrayIter({"data": EXAMPLES}, batch_size=5),
        mx.io.NDArrayIter({"other_name": EXAMPLES}, batch_size=5),
        [mx.io.DataBatch([mx.nd.array(EXAMPLES)])],
        loader(EXAMPLES),
        loader(EXAMPLES, LABELS),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_form_yields_every_example_once(data: Any) -> None:
    np.testing.assert_array_equal(joined(data), EXAMPLES)


def test_a_generator_is_read_once() -> None:
    np.testing.assert_array_equal(joined(EXAMPLES[i : i + 2] for i in range(0, 10, 2)), EXAMPLES)


def test_a_data_iter_is_read_from_its_start_and_again() -> None:
    data = mx.io.NDArrayIter(EXAMPLES, batch_size=4)
    data.next()
    for _ in range(2):
        np.testing.assert_array_equal(joined(data), EXAMPLES)


def test_padding_of_the_last_batch_is_left_out() -> None:
    assert sizes(mx.io.NDArrayIter(EXAMPLES, batch_size=4)) == [4, 4, 2]


def test_a_number_of_examples_cuts_the_last_batch() -> None:
    assert sizes([EXAMPLES[:4], EXAMPLES[4:]], num_examples=5) == [4, 1]
    np.testing.assert_array_equal(joined(loader(EXAMPLES), num_examples=6), EXAMPLES[:6])


def test_several_inputs() -> None:
    names = ("a", "b")
    for data in ([(EXAMPLES, 2 * EXAMPLES)], [(EXAMPLES, 2 * EXAMPLES, LABELS)], [{"b": 2 * EXAMPLES, "a": EXAMPLES}]):
        np.testing.assert_array_equal(joined(data, "b", names), 2 * EXAMPLES)
    by_name = mx.io.NDArrayIter({"b": 2 * EXAMPLES, "a": EXAMPLES}, batch_size=10)
    np.testing.assert_array_equal(joined(by_name, "b", names), 2 * EXAMPLES)


@pytest.mark.parametrize(
    "given, kept", [("float64", "float32"), ("uint8", "float32"), ("int32", "int32"), ("int64", "int64")]
)
def test_types(given: str, kept: str) -> None:
    (batch,) = batches(EXAMPLES.astype(given), ("data",))
    assert batch.arrays["data"].dtype == kept


@pytest.mark.parametrize(
    "data, inputs, message",
    [
        ("images/", ("data",), "found str, expected a DataIter"),
        (3, ("data",), "found int"),
        ({"data": EXAMPLES}, ("data",), "found dict"),
        ([3], ("data",), "a batch is int, expected an array, tuple or dictionary"),
        ([{"image": EXAMPLES}], ("data",), r"a batch has no input 'data', only \['image'\]"),
        ([EXAMPLES], ("a", "b"), r"a batch is one array, but the network has 2 inputs \(a, b\)"),
        ([(EXAMPLES,) * 4], ("a", "b"), "a batch has 4 arrays, but the network has 2 inputs"),
        (np.array(3.0), ("data",), "a single number"),
        (np.array(["a"]), ("data",), "input 'data' holds <U1, expected numbers"),
        (
            mx.io.NDArrayIter({"x": EXAMPLES}, batch_size=5),
            ("a", "b"),
            "batches hold x, but the network's inputs are a, b",
        ),
    ],
)
def test_data_that_cannot_be_read_are_named(data: Any, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(batches(data, inputs))


@pytest.mark.parametrize("form", ["tuple", "dictionary", "DataBatch"])
def test_an_input_without_values_is_refused(form: str) -> None:
    values = {"data": EXAMPLES, "other": np.zeros((0, 3), np.float32)}
    item: Any = dict(values) if form == "dictionary" else tuple(values.values())
    if form == "DataBatch":
        item = mx.io.DataBatch(list(item), provide_data=[mx.io.DataDesc(name, v.shape) for name, v in values.items()])
    with pytest.raises(InputError, match="'other' holds no value in a batch of 10 examples; shapes: .*'other': .0, 3"):
        list(batches([item], ("data", "other")))


def test_a_network_that_reads_no_data_is_refused() -> None:
    with pytest.raises(InputError, match="the network reads none"):
        list(batches([{"data": np.zeros((2, 3), np.float32)}], []))


def test_fewer_examples_than_asked_for() -> None:
    with pytest.raises(InputError, match="num_calib_examples is 11, but the calibration data hold 10 examples"):
        list(batches(EXAMPLES, ("data",), 11))


def test_peek_gives_the_first_batch_and_loses_nothing() -> None:
    first, rest = peek(iter([(EXAMPLES[:4], LABELS[:4]), (EXAMPLES[4:], LABELS[4:])]))
    assert [array.shape for array in first] == [(4, 3), (4,)]
    np.testing.assert_array_equal(joined(rest), EXAMPLES)
    assert [array.shape for array in peek(loader(EXAMPLES, LABELS))[0]] == [(4, 3), (4,)]
    assert [array.shape for array in peek(mx.io.NDArrayIter(EXAMPLES, LABELS, batch_size=5))[0]] == [(5, 3)]
    assert peek([])[0] == []


def test_a_batch_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Batch({}, 0).size = 1  # type: ignore[misc]


def test_a_sample_keeps_the_first_examples_of_one_shape_while_batches_pass_by() -> None:
    sample = Sample(5)
    stream = [Batch({"data": np.full((2, 3), i, np.float32)}, 2) for i in range(4)]
    stream.insert(1, Batch({"data": np.zeros((2, 4), np.float32)}, 2))
    assert list(sample.of(iter(stream))) == stream
    assert sample.examples["data"][:, 0].tolist() == [0, 0, 1, 1, 2]
    stream[0].arrays["data"][:] = 9
    assert sample.examples["data"][0, 0] == 0


def test_what_is_no_example_stays_whole_and_with_its_batch() -> None:
    state = np.ones((2, 4, 5), np.float32)
    pairs = [(EXAMPLES[:4], state), (EXAMPLES[4:8], 2 * state)]
    cut = list(batches(pairs, ("data", "state"), num_examples=6))
    assert [batch.arrays["state"].shape for batch in cut] == [(2, 4, 5)] * 2
    sample = Sample(6)
    assert len(list(sample.of(batches(pairs, ("data", "state"))))) == 2
    np.testing.assert_array_equal(sample.examples["data"], EXAMPLES[:4])
    np.testing.assert_array_equal(sample.examples["state"], state)
    halves = sample.examples.part(0, 2), sample.examples.part(2)
    assert [(len(half["data"]), len(half["state"])) for half in halves] == [(2, 2), (2, 2)]


def test_a_sample_of_large_examples_is_small() -> None:
    sample = Sample(32)
    batch = Batch({"data": np.zeros((4, 3, 2000, 1500), np.float32)}, 4)
    list(sample.of([batch, batch]))
    assert sample.kept == 2
    nothing = Sample(0)
    list(nothing.of([batch]))
    assert dict(nothing.examples) == {}
