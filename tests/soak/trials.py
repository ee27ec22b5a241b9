"""One damaged file after the other: what becomes of each."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Tuple

import numpy as np

from mxquant import MXQuantError
from tests.soak.formats import FORMATS, TRIALS
from tests.soak.material import write_material
from tests.soak.mutations import choose

# How much memory may be taken above what there is when the first file is read.
MEMORY = 3 << 29


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

    def close(self) -> None:
        shutil.rmtree(str(self.sound))

    def run(self, number: int) -> Tuple[str, str]:
        """Return the format of a damaged file, and 'refused', 'read', or what is wrong."""
        rng = np.random.RandomState((self.seed * 1_000_003 + number) % 2**32)
        form = FORMATS[number % len(FORMATS)]
        for name in form.beside:
            shutil.copy(str(self.sound / name), str(self.folder))
        content = (self.sound / form.file).read_bytes()
        with _inside(self.folder):
            damaged = choose(rng, form.damages)(content, rng)
        path = self.folder / form.file
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                form.read(path)
        except MXQuantError as error:
            return form.file, "refused" if str(error) and "\n" not in str(error).strip() else f"says {str(error)!r}"
        except BaseException as error:
            return form.file, f"raised {type(error).__name__}: {error}"
        finally:
            self._clear(form.file)
        return form.file, "read what was changed" if form.exact and damaged != content else "read"

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
