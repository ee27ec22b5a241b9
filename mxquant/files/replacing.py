"""Files that appear whole or not at all: written under a temporary name beside the target, then renamed.

Before the renaming the content is on the disk, and after it the name: what is there after a power failure is whole too.

Of several files that belong together, the one without which the others are not read is removed first and appears last.
Whatever moment a process ends at, what can be read is all of before or all of after. Processes that write to one folder
take turns at this step, and wait for those that read there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, List, Sequence, Union

from mxquant.errors import OutputError

__all__ = ["digest_of", "reading_together", "replacing", "replacing_together", "write_text"]

PathLike = Union[str, Path]


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Give a temporary name to write to; on success it is renamed to `path`, on failure it is removed.

    Parameters
    ----------
    path : str or Path
        Where the file is to appear. Its folder has to exist.

    Yields
    ------
    Path
        A name in the same folder, with the same suffix.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to.
    """
    with _temporaries([Path(path)]) as names:
        yield names[0]
        with _naming(path):
            _finish(names[0])
            os.replace(str(names[0]), str(path))
            _flush(Path(path).parent)


@contextmanager
def replacing_together(paths: Sequence[PathLike]) -> Iterator[List[Path]]:
    """Do what :func:`replacing` does for files that belong together.

    Parameters
    ----------
    paths : sequence of str or Path
        Where they are to appear, in one folder. The last one is the one without which the others are not read.

    Yields
    ------
    list of Path
        A temporary name for each.

    Raises
    ------
    OutputError
        If one of them cannot be written.
    """
    targets = [Path(path) for path in paths]
    folder = targets[-1].parent
    with _temporaries(targets) as names:
        yield names
        for name, target in zip(names, targets):
            with _naming(target):
                _finish(name)
        with _naming(targets[-1]), _turn_in(folder):
            with suppress(FileNotFoundError):
                targets[-1].unlink()
            for name, target in zip(names, targets):
                _flush(folder)
                with _naming(target):
                    os.replace(str(name), str(target))
            _flush(folder)


@contextmanager
def reading_together(path: PathLike) -> Iterator[None]:
    """Let the files beside `path` that :func:`replacing_together` writes stay as they are while they are read.

    Where the folder cannot be opened, or its file system has no locks, nothing is waited for.
    """
    with _turn_in(Path(path).parent, shared=True):
        yield


def write_text(path: PathLike, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all; raises OutputError if that is impossible."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest_of(path: PathLike) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _temporaries(targets: Sequence[Path]) -> Iterator[List[Path]]:
    """Give empty files beside the targets, which are removed where they are still there in the end."""
    names: List[Path] = []
    try:
        for target in targets:
            with _naming(target):
                name = target.with_name(f".{target.name}.{secrets.token_hex(6)}{target.suffix}")
                os.close(os.open(str(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                names.append(name)
        with _naming(targets[0]):
            yield names
    finally:
        for each in names:
            with suppress(OSError):
                each.unlink()


@contextmanager
def _naming(path: PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}") from error


def _finish(path: Path) -> None:
    """Wait until a file is on the disk."""
    handle = os.open(str(path), os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    """Wait until a folder's names are on the disk, where the system can do that."""
    with suppress(OSError):
        handle = os.open(str(folder), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _turn_in(folder: Path, shared: bool = False) -> Iterator[None]:
    """Wait for other processes that are at the same step in a folder; the end of a process ends its turn.

    Those that share their turns wait only for one that does not.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = None
    try:
        # Some network file systems have no locks, and what cannot be opened tells those who read or write there.
        with suppress(OSError):
            handle = os.open(str(folder), os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)
