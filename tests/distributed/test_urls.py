"""Workers that get nothing but a URL: the statistics are those of the files, to the last byte."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest
from distributed import Client

import mxquant
from mxquant.datasets import ArrayFile, Dataset, ImageFiles, Preprocessing, RecordFile
from mxquant.distributed import calibrate
from mxquant.errors import ClusterError, InputError
from tests.datasets.server import Served, serving
from tests.distributed.conftest import Net

HOW = Preprocessing(32)
FORMS: Dict[str, Callable[[str], Dataset]] = {
    "rec": lambda place: RecordFile.of(f"{place}/val.rec", HOW, 4),
    "images": lambda place: ImageFiles.of(f"{place}/images/a", HOW, 4),
    "npy": lambda place: ArrayFile.of(f"{place}/data.npy", batch_size=8),
    "npz": lambda place: ArrayFile.of(f"{place}/data.npz", batch_size=8),
}


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serving(folder) as found:
        yield found


@pytest.mark.parametrize("form", FORMS)
def test_workers_read_what_is_behind_a_url(
    client: Client, net: Net, folder: Path, served: Served, tmp_path: Path, form: str
) -> None:
    data = FORMS[form](served.url)
    served.requests.clear()
    calibrate(client, net.symbol, data, shard_size=8, **net.params).save(tmp_path / "found.npz")
    assert served.requests
    mxquant.calibrate(net.symbol, FORMS[form](str(folder)), **net.params).save(tmp_path / "alone.npz")
    assert (tmp_path / "found.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()


def test_a_server_that_is_gone_is_named_with_the_shard(client: Client, net: Net, folder: Path) -> None:
    with serving(folder) as served:
        data = ArrayFile.of(f"{served.url}/data.npy", batch_size=8)
    with pytest.raises((ClusterError, InputError), match=rf"shard \d+ of 13 .*{served.url}/data.npy"):
        calibrate(client, net.symbol, data, shard_size=8, **net.params)
