"""Shards are whole batches that together are all examples; what has come in is joined; workers are compared."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional, Set

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant.datasets import ImageFiles, Preprocessing
from mxquant.distributed.calibration import _Before, _Counted
from mxquant.distributed.environment import Facts, common_environment, environment
from mxquant.distributed.failures import ShardFailure, named
from mxquant.distributed.parcel import pack, pack_symbol
from mxquant.distributed.shards import batches_in, sharded
from mxquant.distributed.shelf import MissingNetwork, clear, lacking, parcel_of, put
from mxquant.distributed.worker import merged
from mxquant.errors import CalibrationError, ClusterError, InputError, NonFiniteError
from mxquant.lowering import isa
from mxquant.model import read
from tests.cli.conftest import tiny_network
from tests.networks import forward, images, network_of


@given(
    count=st.integers(1, 300),
    first=st.integers(0, 40),
    batch=st.integers(1, 33),
    workers=st.integers(1, 9),
    size=st.none() | st.integers(1, 90),
    data=st.data(),
)
def test_shards_are_all_examples_in_the_batches_of_the_whole(
    count: int, first: int, batch: int, workers: int, size: Optional[int], data: Any
) -> None:
    files = [(f"{number}.jpg", None) for number in range(first + count)]
    whole = ImageFiles(files, Preprocessing(), batch).part(first, first + count)
    taken = data.draw(st.none() | st.integers(1, count))
    done = data.draw(st.integers(0, taken or count))
    parts = sharded(whole, workers, size, taken, done)
    assert parts.total == (taken or count)
    assert [file for _, part in parts.shards for file in part.files] == list(whole.files)[done : parts.total]
    assert all(len(part) == shard.size == sum(part.sizes) for shard, part in parts.shards)
    # All begin where a batch does, but where a run goes on in the middle of one.
    assert all(part.first % batch == 0 and shard.batch == part.first // batch for shard, part in parts.shards[1:])
    assert all(len(part) <= max(512, size or 0) + batch for _, part in parts.shards)


@settings(max_examples=30)
@given(order=st.permutations(range(12)), broken=st.integers(0, 11))
def test_what_comes_in_any_order_is_joined_and_only_its_beginning_is_kept(order: Any, broken: int) -> None:
    path = Path("unused.npz")
    parts = [
        mxquant.Statistics({"x": mxquant.Histogram.of(np.float32([number]))}, "d", 1, 1, "1", "1")
        for number in range(12)
    ]
    counted, kept = _Counted(_Before()), []
    object.__setattr__(counted.before, "path", path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mxquant.Statistics, "save", lambda self, to: kept.append(self.num_examples))
        for number in order[:broken]:
            counted.add(number, number + 1, parts[number])
        counted.save()
        beginning = next((n for n in range(12) if n not in order[:broken]), 12)
        assert kept == ([beginning] if beginning else [])
        for number in order[broken:]:
            counted.add(number, number + 1, parts[number])
    assert counted.all.histograms == sum(parts).histograms and counted.all.num_examples == 12


def test_elements_of_a_bag_become_batches() -> None:
    values = list(images(5, 2, 3))
    assert [batch[0].shape for batch in batches_in(values, 2)] == [(2, 2, 3), (2, 2, 3), (1, 2, 3)]
    pairs = list(batches_in([(value, number) for number, value in enumerate(values)], 4))
    assert [batch[1].tolist() for batch in pairs] == [[0, 1, 2, 3], [4]]
    with pytest.raises(InputError, match=r"elements of a dask.bag have shapes \[\(2,\), \(3,\)\], expected one"):
        list(batches_in([np.zeros(2), np.zeros(3)], 4))


class Answers:
    """Stands for a client whose workers answer so."""

    def __init__(self, answers: Dict[str, Any]) -> None:
        self.answers = answers

    def run(self, function: Any, on_error: str) -> Dict[str, Any]:
        return self.answers


def facts(cpu: str = "avx2", host: str = "a", cores: int = 2, **changes: Any) -> Facts:
    """Return what a worker says that differs from this process in nothing but what is given."""
    return Facts(replace(environment(), **{"threads": 1, **changes}), cpu, host, cores)


@pytest.mark.parametrize(
    "answers, sentence",
    [
        ({}, "the cluster has no workers"),
        ({"w": ConnectionError("gone")}, "the cluster has no workers"),
        (
            {"w": facts(), "v": facts(mxnet="1.8.0")},
            "worker v has mxnet 1.8.0, expected 1.9.1; pip install 'mxnet==1.9.1'",
        ),
        ({"w": facts(), "v": facts(mxquant="9")}, "worker v has mxquant 9, expected"),
        ({"w": facts(numpy="1.20.0")}, "worker w has numpy 1.20.0, expected "),
        ({"w": facts(), "v": facts(numba="0.1")}, "worker v has numba 0.1, expected "),
        ({"w": facts(threads=4), "v": facts(), "u": facts()}, "worker w runs MXNet with 4 threads, others with 1"),
        (
            {"w": facts(), "v": ModuleNotFoundError("No module named 'mxquant'")},
            "worker v cannot use mxquant: ModuleNot",
        ),
    ],
)
def test_workers_that_do_not_fit_are_refused(answers: Dict[str, Any], sentence: str) -> None:
    with pytest.raises(ClusterError) as raised:
        common_environment(Answers(answers))
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    "answers, sentence",
    [
        ({"w": facts(), "v": facts("vnni")}, "workers have CPUs of levels avx2, vnni"),
        ({"w": facts(threads=2), "v": facts(threads=2)}, "2 workers with 2 threads each share the 2 cores of 'a'"),
        ({"w": facts(threads=2), "v": facts(threads=2, host="b")}, ""),
        ({"w": facts(threads=4)}, ""),
        ({"w": facts(), "v": ConnectionError("it has just died")}, ""),
        ({"w": facts("vnni")}, "workers have CPUs of level vnni, this process one of level avx2: without the cluster"),
    ],
)
def test_workers_that_may_differ_or_share_cores_are_told(
    answers: Any, sentence: str, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(isa, "detect", lambda: "avx2")
    told: Set[str] = set()
    assert common_environment(Answers(answers), told) == answers["w"].environment
    assert len(caplog.records) == len(told) == bool(sentence)
    # It comes once, however often a run looks at its workers.
    assert common_environment(Answers(answers), told) == answers["w"].environment
    assert sentence in caplog.text and len(caplog.records) == bool(sentence)


def test_the_levels_of_workers_are_those_of_all_that_answer() -> None:
    answers = {"w": facts(), "v": facts("vnni"), "u": facts(), "t": ConnectionError("it has just died")}
    assert common_environment(Answers(answers)).levels == {"avx2", "vnni"}


def test_a_network_arrives_as_it_was() -> None:
    symbol, args, aux = tiny_network(softmax=True)
    data = images(2, 3, 32, 32)
    packed = pickle.loads(pickle.dumps(pack(read(symbol, args, aux))))
    assert packed.source().model().digest == network_of(symbol, args, aux).digest()
    again = pickle.loads(pickle.dumps(pack_symbol(symbol, args, aux))).symbol()
    inputs = {"data": data, "softmax_label": np.zeros(2, np.float32)}
    assert np.array_equal(forward(*again, **inputs)[0], forward(symbol, args, aux, **inputs)[0])
    packed.params[next(iter(args))][:] = 0
    with pytest.raises(ClusterError, match="on its way to a worker"):
        packed.source()


def test_a_shelf_keeps_the_last_two_networks_under_names_of_all_that_they_are() -> None:
    symbol, args, aux = tiny_network()
    first = pack(read(symbol, args, aux))
    changes = ({"inputs": ("other",)}, {"labels": ("label",)}, {"text": first.text + " "}, {"digest": "other"})
    others = [replace(first, **change) for change in changes]
    names = [each.name for each in (first, *others)]
    assert len(set(names)) == 5 and pickle.loads(pickle.dumps(first)).name == first.name
    clear()
    try:
        put(first)
        put(others[0])
        assert lacking(names) == names[2:]
        assert lacking(names[:1]) == []
        put(others[1])  # what was asked for last stays
        assert lacking(names) == [names[1], *names[3:]]
        assert parcel_of("w", (names[2], names[0])).networks == (others[1], first)
        missing = parcel_of("w", (names[0], names[1]))
        assert pickle.loads(pickle.dumps(missing)) == missing == MissingNetwork("w", (names[1],))
        assert merged(1, 2, 3) == 6 and merged(1, missing, 3) == missing
    finally:
        clear()


def test_errors_travel_and_name_their_shard() -> None:
    found = pickle.loads(pickle.dumps(ShardFailure("w", NonFiniteError("t", 1, 2, " in batch 3"), False)))
    error = named("shard 2 of 3", found.error)
    assert isinstance(error, NonFiniteError) and str(error).startswith("tensor 't' in batch 3 of shard 2 of 3: 1 of 2")
    assert str(named("shard 2 of 3", InputError("gone"), "; again")) == "shard 2 of 3: gone; again"
    assert isinstance(named("s", ZeroDivisionError("x")), CalibrationError)
