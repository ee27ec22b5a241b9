"""A calibration that goes on where it was interrupted.

What was counted so far is written to a file as ordinary statistics, once a minute and when Ctrl-C interrupts. The next
run with the same file passes over as many examples and counts the rest. Statistics merge exactly, so that the result is
the same, byte for byte, as without the interruption.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional, Tuple

from mxquant.errors import InputError
from mxquant.runtime.batch import Batch, cut
from mxquant.shown import logger
from mxquant.stats import Statistics

__all__ = ["CalibrationCheckpoint"]

_SECONDS = 60.0
_log = logger(__name__)


@dataclass
class CalibrationCheckpoint:
    """The file of one calibration, and what is to be written to it.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    network : str
        Digest of the network; a file of another one is refused.
    statistics : callable
        Returns what this run has counted, given the number of its examples and of its batches.
    progress : callable, optional
        Called with the number of examples done, those from before included.
    """

    path: Path
    network: str
    statistics: Callable[[int, int], Statistics]
    progress: Optional[Callable[[int], None]] = None
    before: Optional[Statistics] = field(init=False, default=None)
    batches: int = field(init=False, default=0)
    saved: float = field(init=False, default_factory=time.monotonic)
    interrupted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.before = Statistics.load(self.path, self.network)
            _log.info("calibration goes on after %d examples, which '%s' holds", self.examples, self.path)

    @property
    def examples(self) -> int:
        """How many examples were counted before."""
        return self.before.num_examples if self.before is not None else 0

    def run(self, forward: Callable[..., Tuple[int, int]], stream: Iterable[Batch]) -> Statistics:
        """Count what of a stream was not counted before; return all; remove the file.

        Parameters
        ----------
        forward : callable
            Takes batches and `progress`, and returns how many examples and batches it has run.
        stream : iterable of Batch
            All examples, from the first.

        Raises
        ------
        InputError
            If the stream has fewer examples than were counted before.
        KeyboardInterrupt
            If Ctrl-C was pressed, after the batch that was running; the file is written then.
        """
        rest = self._rest(stream)
        first = next(rest, None)
        if first is None and self.before is not None:
            found = self.before
        else:
            batches = chain([] if first is None else [first], rest)
            with self._interrupts_wait():
                found = self._all(self.statistics(*forward(batches, progress=self._note)))
        if self.path.exists():
            self.path.unlink()
        return found

    def _rest(self, stream: Iterable[Batch]) -> Iterator[Batch]:
        left = self.examples
        for batch in stream:
            if batch.size > left:
                self.batches += 1
                yield cut(batch, left, batch.size)
            left = max(0, left - batch.size)
        if left:
            raise InputError(
                f"checkpoint '{self.path}' is of {self.examples} examples, the data hold {self.examples - left}; "
                "delete it to begin anew"
            )

    def _all(self, statistics: Statistics) -> Statistics:
        return statistics if self.before is None else self.before + statistics

    def _note(self, examples: int) -> None:
        """Take note that a batch is done."""
        if self.progress is not None:
            self.progress(self.examples + examples)
        if self.interrupted or time.monotonic() - self.saved >= _SECONDS:
            # The batch that was taken last is the one that is done.
            self._all(self.statistics(examples, self.batches)).save(self.path)
            self.saved = time.monotonic()
        if self.interrupted:
            raise KeyboardInterrupt

    @contextmanager
    def _interrupts_wait(self) -> Iterator[None]:
        """Let Ctrl-C wait until a batch is done: one that is counted by half cannot be kept. A second one does not.

        A process that ignores Ctrl-C, as a shell's jobs in the background do, goes on ignoring it.
        """
        original = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or original in (signal.SIG_IGN, None):
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self.interrupted and callable(original):
                original(number, frame)
            self.interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, original)
