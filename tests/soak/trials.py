"""One damaged file after the other: what becomes of each."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Tuple

import numpy as np

from mxquant import MXQuantError
from tests.soak.bounds import links_to
from tests.soak.formats import FORMATS, TRIALS, Format
from tests.soak.material import write_material
from tests.soak.mutations import choose

# How much memory may be taken above what there is when the first file is read.
MEMORY = 3 << 29
# Of so many files one is a FIFO.
FIFOS = 47


class Trials:
    """Damaged files by number; the same number and seed give the same file.

    Parameters
    ----------
    seed : int
        Of all of them.
    folder : Path
        An empty folder, which nothing but damaged files is written to.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.sound = Path(tempfile.mkdtemp())
        write_material(self.sound)
        (self.sound / "trials.json").write_text(TRIALS)
        (self.sound / "marker").write_bytes(b"marker" * 10_000)

    def close(self) -> None:
        shutil.rmtree(str(self.sound))

    def run(self, number: int) -> Tuple[str, str, float]:
        """Return the format of a damaged file, 'refused', 'read', or what is wrong, and the seconds it took."""
        rng = np.random.RandomState((self.seed * 1_000_003 + number) % 2**32)
        form = FORMATS[number % len(FORMATS)]
        for each in self.folder.iterdir():  # the one that was kept
            each.unlink()
        for name in form.beside:
            shutil.copy(str(self.sound / name), str(self.folder))
        content = (self.sound / form.file).read_bytes()
        with _inside(self.folder):
            damaged = choose(rng, form.damages)(content, rng)
        if form.links:
            links_to(self.sound / "marker", self.folder)
        path = self.folder / form.file
        if number % FIFOS == FIFOS - 1:
            path.unlink(missing_ok=True)  # a sound one, of those beside it
            # Who would open it is waited for no longer than for any file.
            os.mkfifo(str(path))
        else:
            path.write_bytes(damaged)
        begin = time.monotonic()
        outcome = self._outcome(form, path, damaged != content)
        seconds = time.monotonic() - begin
        self._clear(form.file)
        return form.file, outcome, seconds

    def _outcome(self, form: Format, path: Path, changed: bool) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                form.read(path)
        except MXQuantError as error:
            return "refused" if str(error) and "\n" not in str(error).strip() else f"says {str(error)!r}"
        except BaseException as error:
            return f"raised {type(error).__name__}: {error}"
        return "read what was changed" if form.exact and changed else "read"

    def _clear(self, kept: str) -> None:
        """Empty the folder, but leave the file that was read last, to be looked at if the process dies."""
        for each in self.folder.iterdir():
            if each.name != kept:
                each.unlink()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(str(folder))
    try:
        yield
    finally:
        os.chdir(before)


def limit_memory() -> None:
    """Let this process take no more than MEMORY above what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
