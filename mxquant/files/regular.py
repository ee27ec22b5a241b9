"""Files that are opened: regular ones alone.

To open a FIFO waits for a writer, perhaps for ever; a device has no end, and may do something when it is opened. What a
path names is looked at before it is opened, and what was opened is looked at again.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Union

__all__ = ["content_of", "missing", "open_regular", "refuse_special"]

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")


def open_regular(path: Union[str, Path], links: bool = True) -> BinaryIO:
    """Open a regular file for reading.

    Parameters
    ----------
    path : str or Path
        The file.
    links : bool
        Whether `path` may be a symbolic link.

    Returns
    -------
    file
        Binary, at its beginning; it has to be closed.

    Raises
    ------
    OSError
        If it cannot be opened, or is no regular file; its `strerror` says what it is instead.
    """
    refuse_special(os.stat(path) if links else os.lstat(path), path)
    flags = os.O_RDONLY | (0 if links else getattr(os, "O_NOFOLLOW", 0))
    for name in _FLAGS:
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    try:
        refuse_special(os.fstat(handle), path)
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def content_of(path: Union[str, Path], most: int) -> bytes:
    """Return what is in a regular file of at most `most` bytes; raise OSError, or ValueError where it has more."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Python takes what is asked for before it reads.
        content = file.read(size + 1) if size <= most else b""
    if max(size, len(content)) > most:
        raise ValueError(f"it has more than {most} bytes")
    return content


def missing(path: Union[str, Path]) -> str:
    """Return in words why a path is no file that can be read: nothing is there, or something else."""
    try:
        refuse_special(os.stat(path), path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass
    except OSError as error:
        return f"cannot read '{path}': {error.strerror or error}"
    return f"there is no file '{path}'"


def refuse_special(found: os.stat_result, path: Union[str, Path]) -> None:
    """Raise OSError where `found`, which is said of `path`, is of no regular file."""
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
    raise OSError(errno.EINVAL, f"it is {kind}, expected a regular file", str(path))
