"""Real networks on photographs in files: one, two or eight workers, and one process alone, make the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import dask
import pytest
from distributed import Client, LocalCluster

import mxquant
from mxquant.datasets import ImageFiles, Preprocessing
from mxquant.distributed import calibrate, score
from mxquant.runtime.threads import number_of_threads
from tests.benchmark.material import _photos, lite0
from tests.networks import images, zoo_network

# Ten processes that import MXNet, on few processors.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Network = Tuple[Any, Dict[str, Any], Dict[str, Any]]


@pytest.fixture(scope="module")
def data() -> ImageFiles:
    """Return 20 photographs of ImageNet; their names end in their labels."""
    files = [(path, float(Path(path).stem.split("_")[-1])) for path in _photos()]
    return ImageFiles(files, Preprocessing(224, (127.0,) * 3, (128.0,) * 3), 3)


@pytest.fixture(scope="module")
def networks() -> Dict[str, Network]:
    return {"resnet18_v1": zoo_network("resnet18_v1", images(2, 3, 224, 224)), "efficientnet_lite0": lite0()}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    settings = {"distributed.comm.timeouts.connect": "120s", "distributed.comm.timeouts.tcp": "120s"}
    with dask.config.set(settings), LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


def test_all_make_the_same_plan_and_the_same_scores(
    cluster: LocalCluster, networks: Dict[str, Network], data: ImageFiles, tmp_path: Path
) -> None:
    files: Dict[str, Dict[Any, Any]] = {name: {} for name in networks}
    scores: Dict[str, Dict[Any, Any]] = {name: {} for name in networks}

    def keep(name: str, who: Any, statistics: mxquant.Statistics) -> mxquant.QuantPlan:
        symbol, args, aux = networks[name]
        statistics.save(tmp_path / "stats.npz")
        plan = mxquant.make_plan(symbol, statistics, arg_params=args, aux_params=aux)
        files[name][who] = (tmp_path / "stats.npz").read_bytes(), plan.to_json()
        return plan

    models = {}
    for name, (symbol, args, aux) in networks.items():
        plan = keep(name, "alone", mxquant.calibrate(symbol, data, arg_params=args, aux_params=aux))
        models[name] = mxquant.lower(symbol, plan, arg_params=args, aux_params=aux)
    with Client(cluster) as client:
        for workers, size in ((1, 3), (2, 6), (8, 3)):
            cluster.scale(workers)
            client.wait_for_workers(workers, timeout=300)
            for name, (symbol, args, aux) in networks.items():
                params = {"arg_params": args, "aux_params": aux}
                keep(name, workers, calibrate(client, symbol, data, shard_size=size, **params))
                found = score(client, symbol, data, int8=models[name], shard_size=size, **params)
                scores[name][workers] = found.tallies, found.faithful.sqnr, found.faithful.agreement
    for name, by_workers in files.items():
        found = set(by_workers.values() if number_of_threads() == 1 else [by_workers[count] for count in (1, 2, 8)])
        assert len(found) == 1, name
        first, *others = scores[name].values()
        assert [first] * 2 == others and first[0]["fp32"].examples == 20, name
    assert scores["efficientnet_lite0"][8][0]["fp32"].first == 18
