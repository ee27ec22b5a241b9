"""Data sets with faults, which workers import."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator, Sequence, Tuple

from mxquant.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Faulty(Dataset):
    """Another data set that does something when a certain example is read.

    ``kill`` ends the process at once, as when memory runs out, ``raise`` cannot read it; `times` is how often.
    """

    inner: Dataset
    number: int
    kind: str
    marks: Path
    times: int = 1 << 30
    title: str = field(default="faulty")

    @property
    def grid(self) -> Tuple[int, int]:
        return self.inner.grid

    def __len__(self) -> int:
        return len(self.inner)

    def part(self, begin: int, end: int) -> Dataset:
        return replace(self, inner=self.inner.part(begin, end))

    def read(self, sizes: Sequence[int]) -> Iterator[Any]:
        first = self.grid[0]
        for size, batch in zip(sizes, self.inner.read(sizes)):
            if first <= self.number < first + size and len(list(self.marks.iterdir())) < self.times:
                (self.marks / f"{os.getpid()}-{len(list(self.marks.iterdir()))}").touch()
                self.fail()
            first += size
            yield batch

    def fail(self) -> None:
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError("the disk is gone")
