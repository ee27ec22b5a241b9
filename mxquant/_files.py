"""Files that appear whole or not at all: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union

from mxquant.errors import OutputError

__all__ = ["replacing", "write_text"]


@contextmanager
def replacing(path: Union[str, Path]) -> Iterator[Path]:
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
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=str(path.parent))
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(str(temporary), str(path))
        temporary = None
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        if temporary is not None and temporary.exists():
            temporary.unlink()


def write_text(path: Union[str, Path], text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all; raises OutputError if that is impossible."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
