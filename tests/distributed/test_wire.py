"""What goes over the wire: a network once to each worker that lacks it, and statistics packed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import pytest
from distributed import Client, LocalCluster

import mxquant
from mxquant.datasets import ArrayFile
from mxquant.distributed import calibrate, dispatch, score
from mxquant.distributed.dispatch import Dispatch
from mxquant.runtime.mxnet import mx
from tests.distributed.conftest import Net
from tests.distributed.wire import Wire
from tests.networks import images

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def fresh() -> Iterator[Client]:
    """Connect to two workers that have got nothing yet."""
    options = {"dashboard_address": ":0", "silence_logs": False}
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


def heavy(seed: int) -> Tuple[Any, Dict[str, Any], int]:
    """Return a network with few activations and many parameters, and how many bytes these are."""
    weights = np.random.default_rng(seed).normal(size=(512, 3072)).astype(np.float32)
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.var("data")), num_hidden=512, no_bias=True, name="fc")
    return symbol, {"arg_params": {"fc_weight": mx.nd.array(weights)}}, weights.nbytes


@pytest.fixture
def data(folder: Path) -> ArrayFile:
    return ArrayFile.of(str(folder / "data.npy"), batch_size=8)


def test_a_network_goes_to_each_worker_once_for_all_calls(fresh: Client, data: ArrayFile, tmp_path: Path) -> None:
    symbol, params, size = heavy(0)
    wire = Wire(fresh)
    before, found, shares = wire.sent(), [], []
    for call in (calibrate, calibrate, score, calibrate):
        found.append(call(fresh, symbol, data, shard_size=24, **params))
        after = wire.sent()
        shares.append((after - before) / size)
        before = after
    # To the scheduler, from there to one worker, and from that to the other; then references and statistics only.
    assert 2 <= shares[0] < 3.3 and max(shares[1:]) < 0.5
    other, changed, _ = heavy(1)
    calibrate(fresh, other, data, **changed)
    assert 2 <= (wire.sent() - before) / size < 3.3
    # The last two are kept.
    before = wire.sent()
    calibrate(fresh, symbol, data, **params)
    assert (wire.sent() - before) / size < 0.5
    alone = mxquant.calibrate(symbol, data, **params)
    files = set()
    for each in (found[0], found[1], found[3], alone):
        each.save(tmp_path / "saved.npz")
        files.add((tmp_path / "saved.npz").read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("count", [1, 9, 10, 16, 40, 159, 160, 1000])
def test_groups_are_a_tenth_of_all_at_most(count: int) -> None:
    shards = [(number, None) for number in range(count)]
    groups = Dispatch(None, None, None, shards).groups  # type: ignore[arg-type]
    sizes = [len(group.shards) for group in groups.values()]
    assert sum(sizes) == count and max(sizes) <= max(1, count / 10) and max(sizes) <= 16


def test_what_is_done_of_an_unfinished_group_comes_home_after_a_while(
    fresh: Client, net: Net, data: ArrayFile, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(dispatch, "_SHARE", 1)
    results, runs = Dispatch.results, []  # type: ignore[var-annotated]

    def noted(self: Any) -> Any:
        for first, last, found in results(self):
            runs[-1].append((first, last))
            yield first, last, found

    monkeypatch.setattr(Dispatch, "results", noted)
    files = set()
    for seconds in (1e9, 0.0):
        monkeypatch.setattr(dispatch, "_HOME", seconds)
        runs.append([])
        calibrate(fresh, net.symbol, data, shard_size=8, **net.params).save(tmp_path / "saved.npz")
        files.add((tmp_path / "saved.npz").read_bytes())
    assert runs[0] == [(0, 100)]
    assert len(runs[1]) > 2
    ends: List[int] = [each for run in sorted(runs[1]) for each in run]
    assert ends[0] == 0 and ends[-1] == 100 and ends[1:-1:2] == ends[2:-1:2]
    assert len(files) == 1


def test_statistics_travel_in_a_fraction_of_their_bytes(net: Net) -> None:
    import pickle

    found = mxquant.calibrate(net.symbol, images(64, 3, 32, 32), **net.params)
    packed = pickle.dumps(found)
    assert len(packed) < sum(each.counts.nbytes for each in found.values()) / 3
    again = pickle.loads(packed)
    assert again.histograms == found.histograms and again.channel_sums == found.channel_sums
    assert (again.num_examples, again.network) == (found.num_examples, found.network)
