"""Which files an option names, to be read or to be written; and that no command writes over what it reads.

An option says ``reads=`` or ``writes=``: a function of its value, and of the values of all options by name, that
returns the files. :func:`check_files` compares them before anything is read.
"""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

from mxquant.errors import InputError

__all__ = [
    "Files",
    "Named",
    "check_files",
    "checkpoint",
    "examples",
    "int8_checkpoint",
    "named",
    "prefix_and_epoch",
    "the_file",
]

Files = Callable[[Any, Mapping[str, Any]], Sequence[str]]
# An option as it is written, and a file that it names.
Named = Tuple[str, str]
_LOCAL = ("file://", "local://")


def prefix_and_epoch(text: str) -> Tuple[str, int]:
    """Return ``PREFIX[:EPOCH]`` as its two parts; the epoch is 0 by default."""
    prefix, colon, epoch = text.rpartition(":")
    return (prefix, int(epoch)) if prefix and colon and epoch.isdecimal() and epoch.isascii() else (text, 0)


def the_file(value: Any, _: Mapping[str, Any]) -> Sequence[str]:
    """Return the file that an option's value is."""
    return [str(value)]


def checkpoint(value: str, _: Mapping[str, Any]) -> Sequence[str]:
    """Return the files of ``PREFIX[:EPOCH]``."""
    prefix, epoch = prefix_and_epoch(value)
    return [f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params"]


def int8_checkpoint(value: str, given: Mapping[str, Any]) -> Sequence[str]:
    """Return the files of ``PREFIX[:EPOCH]``, and the plan beside them."""
    return [*checkpoint(value, given), f"{prefix_and_epoch(value)[0]}-plan.json"]


def examples(value: str, _: Mapping[str, Any]) -> Sequence[str]:
    """Return the file or folder of examples, with what is read beside it; the source of a function."""
    path = next((value[len(head) :] for head in _LOCAL if value.startswith(head)), value)
    if "://" in path:
        return []
    module, colon, _name = path.partition(":")
    source = [f"{module.replace('.', '/')}.py"] if colon and not os.path.exists(path) else []
    return [path, *([f"{os.path.splitext(path)[0]}.idx"] if path.endswith(".rec") else []), *source]


def check_files(reads: Sequence[Named], writes: Sequence[Named]) -> None:
    """Refuse outputs that are inputs, by whatever names, and files that two outputs would write.

    Parameters
    ----------
    reads, writes : sequence of (str, str)
        An option, and a file that it names; a folder that is read stands for the images in it.

    Raises
    ------
    InputError
        Naming both options.
    """
    for (option, path), (other, second) in combinations(writes, 2):
        if os.path.realpath(path) == os.path.realpath(second) or _same(path, second):
            raise InputError(f"{option} and {other} would both write '{path}'; name two files")
    there = [(option, path) for option, path in writes if os.path.isfile(path)]
    for option, path in there:
        for other, source in reads:
            if os.path.isdir(source):
                image = next((each for each in _images(source) if _same(path, each)), None)
                if image is not None:
                    raise _overwritten(option, path, other, image)
            elif _same(path, source):
                raise _overwritten(option, path, other, source)


def _overwritten(option: str, path: str, other: str, source: str) -> InputError:
    also = "" if os.path.normpath(path) == os.path.normpath(source) else f" by another name, '{source}'"
    return InputError(f"{option} would overwrite '{path}', which {other} reads{also}; name another output")


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False  # one of them is not there


def _images(folder: str, deep: bool = True) -> Iterator[str]:
    """Yield the images in a folder and in its class folders."""
    from mxquant.datasets.images import SUFFIXES

    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # who reads it will tell
    for each in entries:
        if each.is_dir():
            yield from _images(each.path, False) if deep else ()
        elif Path(each.name).suffix.lower() in SUFFIXES:
            yield each.path


def named(option: str, files: Optional[Files], value: Any, given: Mapping[str, Any]) -> List[Named]:
    """Return the files that an option names by its value, if it has one and names any."""
    return [] if files is None or value is None else [(option, path) for path in files(value, given)]
