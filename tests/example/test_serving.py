"""The server of an int8 network, asked as a client asks; and what its image is made of."""

from __future__ import annotations

import json
import re
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Iterator

import cv2
import numpy as np
import pytest

import mxquant
from mxquant.datasets import Preprocessing
from mxquant.runtime.mxnet import mx
from tests.networks import images, zoo_network

FOLDER = Path(__file__).resolve().parents[2] / "example" / "serving"
sys.path.insert(0, str(FOLDER))
import serve  # noqa: E402

HOW = Preprocessing(64, (120.0,) * 3, (60.0,) * 3)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: Any) -> str:
    path = tmp_path_factory.mktemp("net") / "net"
    data = images(4, 3, 64, 64)
    symbol, args, aux = zoo_network("mobilenet0.25", data[:1])
    mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast").save(path)
    return str(path)


@pytest.fixture(scope="module")
def running(prefix: str) -> Iterator[Any]:
    names = [f"class {i}" for i in range(999)]  # one is missing
    with serve.server(serve.Classifier(prefix, HOW, names), "127.0.0.1", 0) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def asked(running: Any, method: str, path: str = "/", body: Any = None, headers: Any = None) -> Any:
    connection = HTTPConnection("127.0.0.1", running.server_port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def picture(seed: int = 0) -> bytes:
    return cv2.imencode(".png", np.random.RandomState(seed).randint(0, 256, (80, 100, 3), np.uint8))[1].tobytes()


def test_the_answer_is_what_the_network_returns(running: Any, prefix: str) -> None:
    status, told = asked(running, "POST", body=picture())
    (values,) = mxquant.load(prefix).as_block()(mx.nd.array(HOW([serve.Encoded(picture(), "", None)]))).asnumpy()
    best = np.argsort(-values, kind="stable")[:5].tolist()
    assert status == 200 and [each["class"] for each in told["top"]] == best
    assert [each["value"] for each in told["top"]] == [float(values[i]) for i in best]
    assert [each["name"] for each in told["top"]] == [f"class {i}" if i < 999 else None for i in best]


def test_clients_at_once_get_each_their_own(running: Any) -> None:
    alone = [asked(running, "POST", body=picture(seed)) for seed in range(4)]
    found: Any = [None] * 4

    def ask(i: int) -> None:
        found[i] = asked(running, "POST", body=picture(i))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone and len({each[1]["top"][0]["value"] for each in alone}) == 4


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (b"hello", {}, 400, "the body is no image that MXNet can decode"),
        (b"", {}, 400, "the body is no image that MXNet can decode"),
        (None, {"Content-Length": str(1 << 40)}, 413, "expected 16777216 at most"),
        (None, {"Content-Length": "-1"}, 411, "expected a Content-Length"),
    ],
)
def test_what_is_no_image_gets_a_sentence(running: Any, body: Any, headers: Any, status: int, error: str) -> None:
    found, told = asked(running, "POST", body=body, headers=headers)
    assert found == status and error in told["error"]
    assert asked(running, "GET", "/health") == (200, {"status": "ok"})


def test_other_places_are_not_there(running: Any) -> None:
    assert asked(running, "GET", "/etc")[0] == 404


def test_the_image_is_made_as_the_page_tells() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    page = (FOLDER.parents[1] / "docs" / "install.md").read_text(encoding="utf-8")
    assert "pip install --no-cache-dir --no-deps mxnet==1.9.1" in text and "--no-deps mxnet==1.9.1" in page
    for package in re.findall(r"libg\w+1|libquad\w+0", text):
        assert package in page
    for command in re.findall(r"^#     (.+)$", text, re.M):
        assert command in page
    for source in re.findall(r"^COPY (.+) \S+$", text, re.M):
        assert all((FOLDER.parents[1] / path).exists() for path in source.split())
