"""A scheduler and workers that are processes of their own, on the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Any, List, Sequence


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Processes:
    """A scheduler on a port of its own, and workers.

    `words` go to both: those that say which certificates to use.
    """

    def __init__(self, scheme: str = "tcp", words: Sequence[str] = ()) -> None:
        self.port, self.words = free_port(), list(words)
        self.address = f"{scheme}://127.0.0.1:{self.port}"
        self.schedulers: List[Any] = []
        self.workers: List[Any] = []

    def start_scheduler(self, *words: str) -> None:
        words = words or ("--no-dashboard",)
        self.schedulers.append(
            self._start("distributed.cli.dask_scheduler", ["--host", "127.0.0.1", "--port", str(self.port), *words])
        )

    def start_worker(self) -> None:
        words = [self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1"]
        self.workers.append(self._start("distributed.cli.dask_worker", words))

    def _start(self, module: str, words: List[str]) -> Any:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "-m", module, *words, *self.words], env=environment, **quiet)

    def end(self, processes: List[Any], how: int = signal.SIGKILL) -> None:
        for process in processes:
            process.send_signal(how)
        for process in processes:
            process.wait(timeout=60)
        processes.clear()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end(self.workers)
        self.end(self.schedulers)
