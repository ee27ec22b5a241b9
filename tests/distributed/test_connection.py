"""Whoever answers, or nobody: a connection comes about or ends in one sentence, within one deadline."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator, List

import dask
import pytest
from distributed import Client
from distributed.core import Server

from mxquant.cli.running import run
from mxquant.distributed import connection
from mxquant.distributed.address import Address
from mxquant.distributed.connection import SECONDS, connect
from mxquant.errors import ClusterError, InputError
from tests.distributed.certificates import Certificates, certificates
from tests.distributed.processes import Processes, free_port

pytestmark = pytest.mark.timeout(120)


@contextmanager
def answering(answer: bytes = b"") -> Iterator[str]:
    """Serve a socket that accepts, says something or nothing, and keeps the connection."""
    held = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)

        def accept() -> None:
            while True:
                try:
                    found, _ = server.accept()
                except OSError:
                    return
                held.append(found)
                found.sendall(answer)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for each in held:
                each.close()


class Page(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tell nothing."""


@contextmanager
def pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@contextmanager
def falling_silent() -> Iterator[str]:
    """Serve what says once that it is a scheduler, and answers nothing after that."""
    asked: List[str] = []

    async def identity(**_: Any) -> Any:
        asked.append("identity")
        await asyncio.sleep(0 if len(asked) == 1 else 60)
        return {"type": "Scheduler"}

    async def serve() -> None:
        server = Server({"identity": identity})
        await server.listen("tcp://127.0.0.1:0")
        there.append(server.address)
        ready.set()
        while not over.is_set():
            await asyncio.sleep(0.05)
        await server.close()

    there: List[str] = []
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield there[0]
    finally:
        over.set()
        thread.join(30)


@pytest.mark.parametrize(
    "text, found",
    [
        ("tcp://10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("head-1.example.org:8786", "tcp://head-1.example.org:8786"),
        ("TLS://[::1]:1", "tls://[::1]:1"),
        ("tls://node_7:65535", "tls://node_7:65535"),
    ],
)
def test_an_address_is_read(text: str, found: str) -> None:
    assert str(Address.of(text)) == found
    assert Address.of(found) == Address.of(text)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "it has no host"),
        ("tcp://", "it has no host"),
        ("tcp://:8786", "it has no host"),
        ("tcp://host", "it has no port; a scheduler's is 8786 by default"),
        ("host", "it has no port"),
        ("tcp://host:", "it has no port"),
        ("tcp://host:0", "the port is '0', expected a number from 1 to 65535"),
        ("tcp://host:65536", "the port is '65536'"),
        ("tcp://host:٣", "the port is"),
        ("tcp://host:8786x", "the port is '8786x'"),
        ("tcp://host:8786/status", "there is '/status' after it"),
        ("tcp://a b:8786", "'a b' is no name of a host"),
        ("tcp://-a:8786", "'-a' is no name of a host"),
        ("tcp://a..b:8786", "'a..b' is no name"),
        ("tcp://300.0.0.1:8786", "300"),
        ("tcp://10.0.0:8786", "4 octets"),
        ("tcp://[::g]:8786", "::g"),
        ("http://host:8787/status", "a page is for browsers"),
        ("ucx://host:8786", "'ucx' is neither"),
        ("tcp//host:8786", ""),
        ("tcp://\nhost:1", ""),
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_sent(text: str, sentence: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(InputError) as raised:
        connect(text)
    assert str(raised.value).startswith("the address is ") and sentence in str(raised.value)
    assert "expected tcp://HOST:PORT or tls://HOST:PORT" in str(raised.value)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 8, b"no"])
def test_what_speaks_otherwise_is_told_at_once(answer: bytes) -> None:
    begin = time.monotonic()
    with answering(answer) as address, pytest.raises(
        ClusterError, match="is no scheduler; look at what the sched|says"
    ):
        connect(address, seconds=4.0)
    assert time.monotonic() - begin < (6 if len(answer) < 8 else 3)


def test_a_page_for_browsers_is_told_from_a_scheduler() -> None:
    begin = time.monotonic()
    with pages() as address, pytest.raises(ClusterError, match="a page for browsers, such as Dask's dashboard"):
        connect(address)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_silent_socket_ends_at_the_deadline(scheme: str, tmp_path: Path) -> None:
    made = certificates(tmp_path)
    files = {} if scheme == "tcp" else {"tls_ca_file": made.ca, "tls_cert": made.cert, "tls_key": made.key}
    begin = time.monotonic()
    with answering() as address, pytest.raises(ClusterError, match="says nothing for .* look at what the scheduler"):
        connect(address.replace("tcp", scheme), seconds=4.0, **files)
    assert 2 < time.monotonic() - begin < 6


def test_one_that_speaks_as_dask_does_and_then_no_more_ends_at_the_deadline() -> None:
    begin = time.monotonic()
    with answering((40).to_bytes(8, "little")) as address, pytest.raises(ClusterError, match="does not say within"):
        connect(address, seconds=3.0)
    assert time.monotonic() - begin < 5


def test_a_scheduler_that_falls_silent_ends_at_the_deadline_and_the_client_is_closed(monkeypatch: Any) -> None:
    closed: List[bool] = []
    close = Client._close

    async def noted(self: Any, *arguments: Any, **options: Any) -> None:
        await close(self, *arguments, **options)
        closed.append(True)

    monkeypatch.setattr(Client, "_close", noted)
    with falling_silent() as address:
        begin = time.monotonic()
        with pytest.raises(ClusterError, match=f"the scheduler at '{address}'"):
            connect(address, seconds=3.0)
        assert 2 < time.monotonic() - begin < 5
        assert closed


def test_no_step_has_more_time_than_the_steps_before_have_left(monkeypatch: Any) -> None:
    ends: List[float] = []
    within, search = connection.within, socket.getaddrinfo

    def slow(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(socket, "getaddrinfo", search)
        time.sleep(0.8)
        return search(*arguments, **options)

    def noted(seconds: float, *arguments: Any, **options: Any) -> Any:
        ends.append(time.monotonic() + seconds)
        return within(seconds, *arguments, **options)

    monkeypatch.setattr(connection, "within", noted)
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begin = time.monotonic()
    with answering((40).to_bytes(8, "little")) as address, pytest.raises(ClusterError, match="does not say within"):
        connect(address, seconds=1.0)
    # What lies between a look at the clock and the next one is not what is meant.
    assert len(ends) == 2 and max(ends) < begin + 1.2


def test_nobody_ends_at_the_deadline() -> None:
    begin = time.monotonic()
    with pytest.raises(ClusterError, match=r"no scheduler answers at .* within [23] s: Connection refused; look at"):
        connect(f"tcp://127.0.0.1:{free_port()}", seconds=3.0)
    assert time.monotonic() - begin < 5


def test_hosts_that_are_not_found_and_not_searched_for_without_end(monkeypatch: Any) -> None:
    def unknown(*_: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    for search, sentence in (
        (unknown, "Name or service not known"),
        (lambda *_: time.sleep(8), "no answer within 2 s"),
    ):
        begin = time.monotonic()
        monkeypatch.setattr(socket, "getaddrinfo", search)
        with pytest.raises(ClusterError, match=f"the host of 'tcp://host:1' is not found: .*{sentence}"):
            connect("tcp://host:1", seconds=2.0)
        assert time.monotonic() - begin < 4


def test_a_worker_is_told_from_a_scheduler(client: Client) -> None:
    worker = min(client.scheduler_info()["workers"])
    with pytest.raises(ClusterError, match=f"what answers at '{worker}' is a worker of Dask; give the address of the"):
        connect(worker)


def test_a_scheduler_gets_a_client(client: Client) -> None:
    with connect(client.scheduler.address) as found:
        assert found.nthreads() == client.nthreads()


def test_the_command_says_it_in_one_sentence(folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    from mxquant.runtime.mxnet import mx
    from tests.cli.conftest import tiny_network

    monkeypatch.chdir(tmp_path)
    symbol, args, aux = tiny_network()
    mx.model.save_checkpoint("net", 0, symbol, args, aux)
    with pages() as address:
        for more, sentence in (
            (
                ["--scheduler", "tcp://host"],
                "error: --scheduler: the address is 'tcp://host', expected tcp://HOST:PORT",
            ),
            (["--scheduler", address], "error: --scheduler: what answers at 'tcp://127.0.0.1:"),
            (["--tls-cert", "x.pem"], "error: --tls-cert is for --scheduler tls://HOST:PORT, which is missing"),
            (
                ["--scheduler", "tls://127.0.0.1:1"],
                "error: --scheduler: 'tls://127.0.0.1:1' needs --tls-ca-file, or Dask's setting distributed",
            ),
        ):
            words = ["calibrate", "-m", "net", "-d", str(folder / "data.npy"), "-o", "x.npz", "-q", *more]
            assert run(words) == 2
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert line.startswith(sentence)
    assert not list(tmp_path.glob("x.npz*"))


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--scheduler", "tcp://host"], "error: --scheduler: the address is 'tcp://host', expected"),
        (["--scheduler", "tls://host:1"], "error: --scheduler: 'tls://host:1' needs --tls-ca-file, or Dask's"),
        (["--tls-key", "x.pem"], "error: --tls-key is for --scheduler tls://HOST:PORT, which is missing"),
    ],
)
def test_the_command_says_it_before_anything_is_loaded(options: List[str], sentence: str, tmp_path: Path) -> None:
    code = "import sys; from mxquant.cli.running import run; sys.modules['mxnet'] = None; sys.exit(run(sys.argv[1:]))"
    words = ["calibrate", "-m", "net", "-d", "data.npy", "-o", "x.npz", *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith(sentence), done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def test_tls_files_are_looked_at_before_anything_is_sent(made: Certificates, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    other, locked = certificates(tmp_path / "other"), certificates(tmp_path / "locked", passphrase=b"secret")
    (tmp_path / "empty.pem").touch()
    os.mkfifo(tmp_path / "fifo.pem")
    whole = {"tls_ca_file": made.ca, "tls_cert": made.cert, "tls_key": made.key}
    for changes, sentence in (
        (
            {"tls_ca_file": None},
            "needs --tls-ca-file, or Dask's setting distributed.comm.tls.ca-file; there is neither",
        ),
        ({"tls_cert": None}, "needs --tls-cert, or Dask's setting distributed.comm.tls.client.cert"),
        ({"tls_ca_file": tmp_path / "gone.pem"}, "--tls-ca-file: cannot read '.*gone.pem': No such file"),
        ({"tls_ca_file": tmp_path / "fifo.pem"}, "--tls-ca-file: cannot read '.*fifo.pem': it is a FIFO, expected"),
        ({"tls_key": tmp_path / "fifo.pem"}, "--tls-key: cannot read '.*fifo.pem': it is a FIFO, expected"),
        ({"tls_ca_file": tmp_path / "empty.pem"}, "--tls-ca-file: '.*empty.pem' is no certificate in PEM"),
        ({"tls_ca_file": made.key}, "--tls-ca-file: '.*key.pem' is no certificate in PEM"),
        ({"tls_key": None}, "--tls-cert and --tls-key: "),
        ({"tls_key": other.key}, "--tls-cert and --tls-key: .*: key values mismatch"),
        ({"tls_key": locked.key}, "--tls-key: the key in '.*key.pem' has a passphrase"),
    ):
        with pytest.raises(InputError, match=sentence):
            connect("tls://127.0.0.1:1", **{**whole, **changes})
    with pytest.raises(
        InputError, match="--tls-ca-file, --tls-cert, --tls-key is for tls://, but the address is 'tcp://"
    ):
        connect("tcp://127.0.0.1:1", **whole)
    with dask.config.set({"distributed.comm.require-encryption": True}), pytest.raises(
        InputError, match="write tls://"
    ):
        connect("tcp://127.0.0.1:1")


# Dask leaves what is open of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cluster_with_tls_and_who_does_not_belong_to_it(
    made: Certificates, folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """One cluster for all of it: it takes seconds to start."""
    from mxquant.runtime.mxnet import mx
    from tests.cli.conftest import tiny_network

    monkeypatch.chdir(tmp_path)
    symbol, args, aux = tiny_network()
    mx.model.save_checkpoint("net", 0, symbol, args, aux)
    words = ["calibrate", "-m", "net", "-d", str(folder / "data.npy"), "-n", "40", "-b", "8", "-q"]
    assert run([*words, "-o", "here.npz"]) == 0
    with Processes("tls", made.words()) as processes:
        processes.start_scheduler()
        processes.start_worker()
        assert run([*words, "-o", "there.npz", "--scheduler", processes.address, *made.words()]) == 0
        assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()
        settings = {"ca-file": made.ca, "client.cert": made.cert, "client.key": made.key}
        settings = {f"distributed.comm.tls.{name}": str(value) for name, value in settings.items()}
        with dask.config.set(settings), connect(processes.address) as client:
            assert client.nthreads()
        stranger = certificates(tmp_path / "stranger")
        plain = processes.address.replace("tls", "tcp")
        capsys.readouterr()
        for address, files, sentence in (
            (processes.address, stranger.words(), "does not hold: "),
            (
                processes.address,
                [*made.words()[:2], *stranger.words()[2:]],
                "does not take this certificate: ",
            ),
            (plain, [], "speaks TLS: write tls://"),
        ):
            begin = time.monotonic()
            assert run([*words, "-o", "x.npz", "--scheduler", address, *files]) == 2
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert sentence in line and line.startswith("error: --scheduler: ")
            assert time.monotonic() - begin < SECONDS / 2
    with Processes() as processes:
        processes.start_scheduler()
        with connect(processes.address, seconds=30.0) as client:
            assert not client.nthreads()
        files = {"tls_ca_file": made.ca, "tls_cert": made.cert, "tls_key": made.key}
        with pytest.raises(ClusterError, match="does not speak TLS: write tcp://, or start it with its certificate"):
            connect(processes.address.replace("tcp", "tls"), **files)
    gc.collect()


def test_a_scheduler_with_a_host_listens_on_that_interface_only() -> None:
    """The words of the documentation: 127.0.0.2 is of the same machine, and not of the address that was given."""
    with Processes() as processes:
        processes.start_scheduler("--dashboard-address", "127.0.0.1:0")
        with connect(processes.address, seconds=30.0) as client:
            services = client.scheduler_info()["services"]
        for port in (processes.port, *services.values()):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", port), timeout=5)
