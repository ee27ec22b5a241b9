"""Workers that read from S3; needs s3fs and moto, which plays the part of Amazon."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
from distributed import Client, LocalCluster

import mxquant
from mxquant.distributed import calibrate
from tests.distributed.conftest import Net
from tests.distributed.test_urls import FORMS

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
server = pytest.importorskip("moto.server", reason="moto[server] is not installed")


@pytest.fixture
def bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put the data into a bucket that workers find by the variables of their environment; return its URL."""
    running = server.ThreadedMotoServer(port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files: Any = s3fs.S3FileSystem()
        files.mkdir("photos")
        files.put(f"{folder}/", "photos/set/", recursive=True)
        yield "s3://photos/set"
    finally:
        running.stop()


@pytest.mark.slow
def test_workers_read_what_is_in_a_bucket(net: Net, folder: Path, bucket: str, tmp_path: Path) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        for form, data in FORMS.items():
            calibrate(client, net.symbol, data(bucket), shard_size=8, **net.params).save(tmp_path / "found.npz")
            mxquant.calibrate(net.symbol, data(str(folder)), **net.params).save(tmp_path / "alone.npz")
            assert (tmp_path / "found.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes(), form
