"""Files that appear whole or not at all: written under a temporary name beside the target, then renamed.

Before the renaming the content is on the disk, and after it the name: what is there after a power failure is whole too.

What is replaced has to be a regular file, whose rights the new one gets; :mod:`mxquant.files.targets`.

Of several files that belong together, the one without which the others are not read is removed first and appears last.
Whatever moment a process ends at, what can be read is all of before or all of after. Processes that write to one folder
take turns at this step, and wait for those that read there.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Union

from mxquant.errors import OutputError
from mxquant.files.regular import open_regular
from mxquant.files.targets import Rights, rights_of, temporary_name
from mxquant.files.turns import turn_in

__all__ = ["check_target", "digest_of", "replacing", "replacing_together", "write_text"]

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
        If the folder does not exist or cannot be written to, or `path` is no regular file.
    """
    target = Path(path)
    with _temporaries([target]) as names:
        yield names[target]
        with _naming(path):
            _finish(names[target], rights_of(target))
            os.replace(str(names[target]), str(path))
            _flush(target.parent)


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
        yield [names[target] for target in targets]
        for target, name in names.items():
            with _naming(target):
                _finish(name, rights_of(target))
        with _naming(targets[-1]), turn_in(folder):
            with suppress(FileNotFoundError):
                targets[-1].unlink()
            for target, name in names.items():
                _flush(folder)
                with _naming(target):
                    os.replace(str(name), str(target))
            _flush(folder)


def check_target(path: PathLike) -> None:
    """Find out, before there is anything to write, whether it could be written; nothing is left behind.

    Parameters
    ----------
    path : str or Path
        Where a file is to appear.

    Raises
    ------
    OutputError
        If :func:`replacing` could not write it.
    """
    with _temporaries([Path(path)]):
        pass


def write_text(path: PathLike, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all; raises OutputError if that is impossible."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest_of(path: PathLike) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _temporaries(targets: Sequence[Path]) -> Iterator[Dict[Path, Path]]:
    """Give empty files beside the targets, which are removed where they are still there in the end."""
    names: Dict[Path, Path] = {}
    try:
        for target in targets:
            with _naming(target):
                # Nobody reads what may be secret before it has the rights of what it replaces.
                mode = 0o666 if rights_of(target) is None else 0o600
                name = temporary_name(target)
                os.close(os.open(str(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
                names[target] = name
        with _naming(targets[0]):
            yield names
    finally:
        for each in names.values():
            with suppress(OSError):
                each.unlink()


@contextmanager
def _naming(path: PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}") from error


def _finish(path: Path, rights: Optional[Rights]) -> None:
    """Give a file the rights of what it replaces, if there is something, and wait until it is on the disk."""
    handle = os.open(str(path), os.O_RDWR)
    try:
        if rights is not None:
            rights.give(handle)
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
