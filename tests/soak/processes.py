"""Workers as processes of their own: what they have found, whether they live or die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Sequence

from tests.soak.journal import Entry, read_journal

__all__ = ["run_worker"]

# Seconds without a line in the journal; MXNet's own handler of a crash may hang.
_PATIENCE = 60.0
WORKER = ("-m", "tests.soak.worker")


def run_worker(arguments: Sequence[str], journal: Path, worker: Sequence[str] = WORKER) -> List[Entry]:
    """Run a worker to its end, which may be a crash; return what it wrote.

    Parameters
    ----------
    arguments : sequence of str
        Its arguments after the journal.
    journal : Path
        A file that does not exist yet.
    worker : sequence of str
        What Python runs.

    Returns
    -------
    list of Entry
        The last one has no outcome if the process died, or hung and was ended.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MXNET_SUBGRAPH_VERBOSE": "0"}
    command = [sys.executable, "-W", "ignore", *worker, str(journal), *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        size, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            now = journal.stat().st_size if journal.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                break
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return read_journal(journal)
