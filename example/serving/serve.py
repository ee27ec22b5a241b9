"""Answers images with their likeliest classes by an int8 network, over HTTP.

::

    python example/serving/serve.py net-int8 --names names.txt
    curl --data-binary @cat.jpg http://127.0.0.1:8000/

An answer is JSON such as ``{"top": [{"class": 281, "name": "tabby", "value": 9.2}, ...]}``; what is no image gets
status 400 and a sentence. Of other places only ``/health`` is answered. It needs no more than mxquant, MXNet and NumPy.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import numpy as np

import mxquant  # before MXNet: it gives back what MXNet 1.9 misses, and lets it use all processors
from mxquant.datasets.preprocessing import Encoded, Preprocessing
from mxquant.runtime.mxnet import mx

MOST_BYTES = 16 << 20
SECONDS = 30  # that a client may be silent


class Classifier:
    """An int8 network and how images become its input; calls of several threads take turns.

    Parameters
    ----------
    prefix : str
        What `mxquant quantize -o` was given.
    how : Preprocessing
        As it was for calibration: other pixels than those give wrong results.
    names : sequence of str
        Names of the classes, or nothing.
    """

    def __init__(self, prefix: str, how: Preprocessing, names: Sequence[str] = ()) -> None:
        self.block = mxquant.load(prefix).as_block()
        self.block.hybridize(static_alloc=True, static_shape=True)
        self.how, self.names, self.lock = how, names, threading.Lock()
        self._values(np.zeros((1, *how.shape), np.float32))  # what the first call prepares, before there is a client

    def _values(self, data: np.ndarray) -> np.ndarray:
        with self.lock:
            return self.block(mx.nd.array(data)).asnumpy()

    def top(self, image: bytes, count: int = 5) -> List[Dict[str, Any]]:
        """Return the classes with the largest outputs, the largest first; an InputError if it is no image."""
        values = self._values(self.how([Encoded(image, "the body", None)]))[0]
        return [
            {"class": int(i), "name": self.names[i] if i < len(self.names) else None, "value": float(values[i])}
            for i in np.argsort(-values, kind="stable")[:count]
        ]


class Handler(BaseHTTPRequestHandler):
    """Answers for ``server.classifier``."""

    timeout = SECONDS

    def do_GET(self) -> None:
        """Say that the server is there."""
        self._answer(*((200, {"status": "ok"}) if self.path == "/health" else (404, {"error": "expected /health"})))

    def do_POST(self) -> None:
        """Answer an image."""
        self._answer(*self._classified())

    def _classified(self) -> Tuple[int, Dict[str, Any]]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return 411, {"error": "expected a Content-Length"}
        if int(length) > MOST_BYTES:
            return 413, {"error": f"the body would have {length} bytes, expected {MOST_BYTES} at most"}
        try:
            return 200, {"top": self.server.classifier.top(self.rfile.read(int(length)))}  # type: ignore[attr-defined]
        except mxquant.InputError as error:
            return 400, {"error": str(error)}

    def _answer(self, status: int, told: Dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # A body that was not read would be taken for the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


def server(classifier: Classifier, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that answers while ``serve_forever`` runs."""
    found = ThreadingHTTPServer((host, port), Handler)
    found.classifier = classifier  # type: ignore[attr-defined]
    return found


def _three(text: str) -> Tuple[float, ...]:
    values = tuple(map(float, text.split(",")))
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers with commas between")
    return values


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Answer images with their likeliest classes by an int8 network.")
    parser.add_argument("prefix", help="the int8 network: PREFIX-symbol.json, PREFIX-0000.params, PREFIX-plan.json")
    parser.add_argument("--size", type=int, default=224, metavar="N", help="side of the images; default: 224")
    parser.add_argument("--mean", type=_three, default=(123.675, 116.28, 103.53), metavar="R,G,B")
    parser.add_argument("--std", type=_three, default=(58.395, 57.12, 57.375), metavar="R,G,B")
    parser.add_argument("--names", type=Path, metavar="FILE", help="names of the classes, one to a line")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all interfaces; default: this machine alone")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    names = options.names.read_text(encoding="utf-8").splitlines() if options.names else ()
    how = Preprocessing(options.size, options.mean, options.std)
    with server(Classifier(options.prefix, how, names), options.host, options.port) as found:
        print(f"http://{options.host}:{found.server_port}/", flush=True)
        try:
            found.serve_forever()
        except KeyboardInterrupt:
            print("ended")


if __name__ == "__main__":
    main()
