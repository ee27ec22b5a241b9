"""A cluster of two worker processes, data in files, and the same network as everywhere in tests of the command."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from mxquant.runtime.mxnet import mx
from tests.cli.conftest import tiny_network, write_image
from tests.networks import images

COUNT = 100


class Net(NamedTuple):
    """A network and its parameters as keyword arguments."""

    symbol: Any
    params: Any


@pytest.fixture(scope="session")
def net() -> Net:
    symbol, args, aux = tiny_network()
    return Net(symbol, {"arg_params": args, "aux_params": aux})


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Connect to two workers, each a process with one thread."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        # Dask's own way to be silent makes handlers of pytest silent too.
        options = {"dashboard_address": ":0", "silence_logs": False}
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
            yield client


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with arrays, images and a .rec file."""
    folder = tmp_path_factory.mktemp("distributed")
    np.savez(folder / "data.npz", data=images(COUNT, 3, 32, 32), label=np.arange(COUNT) % 5)
    np.save(folder / "data.npy", images(COUNT, 3, 32, 32))
    record = mx.recordio.MXIndexedRecordIO(str(folder / "val.idx"), str(folder / "val.rec"), "w")
    for number in range(20):
        path = folder / "images" / "ab"[number % 2] / f"{number:02d}.bmp"
        write_image(path, number)
        header = mx.recordio.IRHeader(0, float(number % 2), number, 0)
        record.write_idx(number, mx.recordio.pack(header, path.read_bytes()))
    record.close()
    return folder
