"""What an output replaces: a regular file or nothing, whose rights the new file gets.

A symbolic link is replaced itself, by a file with the rights of what it names; what it names stays as it is. So does a
file under its other hard links.

What lies beside an output has its name too, cut where that and the rest would be too long for the file system.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional, Union

from mxquant.files.regular import refuse_special

__all__ = ["Rights", "beside", "rights_of", "temporary_name"]

# Where a file system does not say how long a name may be.
_LONGEST_NAME = 255


class Rights(NamedTuple):
    """Who may do what with a file: permission bits, and its group."""

    mode: int
    group: int

    def give(self, handle: int) -> None:
        """Give an open file these rights, as far as this process may."""
        mode = self.mode
        if not hasattr(os, "fchown"):  # Windows
            return
        if os.fstat(handle).st_gid != self.group:
            try:
                os.fchown(handle, -1, self.group)
            except OSError:
                # Another group gets no rights but those of all others.
                mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
        os.fchmod(handle, mode)


def rights_of(path: Path) -> Optional[Rights]:
    """Return the rights of a file that is to be replaced, None where there is none.

    Parameters
    ----------
    path : Path
        The output.

    Raises
    ------
    OSError
        If it is no regular file, a name of an open file as /dev/stdout is, or may not be replaced.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    refuse_special(found, path)
    if path.is_symlink() and os.readlink(path).startswith("/proc/"):
        raise OSError(errno.EINVAL, "it stands for a file that is open, expected a file of its own", str(path))
    _refuse_foreign(path)
    return Rights(stat.S_IMODE(found.st_mode) & 0o777, found.st_gid)


def _refuse_foreign(path: Path) -> None:
    """Refuse what only its owner may replace, as in /tmp."""
    folder = os.stat(path.parent)
    if folder.st_mode & stat.S_ISVTX and hasattr(os, "geteuid"):
        user = os.geteuid()
        if user and user not in (folder.st_uid, os.lstat(path).st_uid):
            raise PermissionError(errno.EPERM, "it is of another user, and only that one may replace it", str(path))


def temporary_name(target: Path) -> Path:
    """Return a name beside an output that nothing has, with its suffix; the name of the output is cut where it is long.

    Parameters
    ----------
    target : Path
        The output.
    """
    longest = _longest_name(str(target.parent))
    number = secrets.token_hex(6)
    suffix = target.suffix if len(os.fsencode(target.suffix)) < longest // 4 else ""
    stem = _cut(target.name, longest - len(os.fsencode(f"..{number}{suffix}")))
    return target.with_name(f".{stem}.{number}{suffix}")


def beside(target: Union[str, Path], ending: str) -> Path:
    """Return the file whose name is that of an output and an ending, at each call the same one.

    Parameters
    ----------
    target : str or Path
        The output, or the beginning of the names of several.
    ending : str
        Such as '.partial'. Where the name would be too long, that of the output is cut, and its digest stands for it.
    """
    folder, name = os.path.split(str(target))
    longest = _longest_name(folder or os.curdir)
    if len(os.fsencode(name + ending)) > longest:
        ending = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}{ending}"
        name = _cut(name, longest - len(os.fsencode(ending)))
    return Path(folder, name + ending)


def _longest_name(folder: str) -> int:
    """Return how many bytes a name in a folder may have."""
    with suppress(OSError, AttributeError, ValueError):
        return os.pathconf(folder, "PC_NAME_MAX")
    return _LONGEST_NAME


def _cut(name: str, room: int) -> str:
    """Return as much of the beginning of a name as has room, in bytes."""
    name = name[:room]
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name
