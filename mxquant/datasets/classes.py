"""Which class a folder of images is: by its number, by its place among the others, or by a list of names.

Folders whose names are whole numbers are these classes: 2 comes before 10, and a folder that is missing renumbers no
other. Other names have their places in alphabetical order, which is right only where there is a folder for each class.
A list of names has a class in each line; where lines begin with whole numbers, these are the classes.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mxquant.errors import InputError

__all__ = ["class_numbers", "labels_of", "listed_classes", "whole_numbers"]

_INDEXED = re.compile(r"([0-9]+)[\s,:]+(\S.*)")


def whole_numbers(names: Sequence[str]) -> Optional[Dict[str, int]]:
    """Return names as the numbers that they are; None where one is none.

    Raises
    ------
    InputError
        If two of them are the same number, such as '1' and '01'.
    """
    if not names or not all(name.isdecimal() and name.isascii() for name in names):
        return None
    found: Dict[int, str] = {}
    for name in names:
        other = found.setdefault(int(name), name)
        if other != name:
            raise InputError(f"class folders '{other}' and '{name}' are the same number; rename one")
    return {name: number for number, name in sorted(found.items())}


def class_numbers(names: Sequence[str]) -> Dict[str, int]:
    """Return the class of each of some folders: its number, or its place in alphabetical order.

    Parameters
    ----------
    names : sequence of str
        Their names.

    Returns
    -------
    dict of str to int
        By name, in ascending order.

    Raises
    ------
    InputError
        If two names are the same number.
    """
    numbers = whole_numbers(names)
    return {name: place for place, name in enumerate(sorted(names))} if numbers is None else numbers


def listed_classes(text: str, folders: Sequence[str], title: str) -> Dict[str, int]:
    """Return the classes that a list names.

    Parameters
    ----------
    text : str
        A class in each line: a name, with a description behind it perhaps, as 'n01440764 tench'; or a whole number and
        a name. Empty lines, and those that begin with #, count for nothing.
    folders : sequence of str
        Names of folders, which tell whether a line is a name, or begins with one.
    title : str
        What messages call the list.

    Returns
    -------
    dict of str to int
        By name.

    Raises
    ------
    InputError
        If it names no class, one twice, or not that of a folder.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise InputError(f"{title} names no class; expected a name in each line")
    indexed = [_INDEXED.fullmatch(line) for line in lines]
    if all(indexed) and not set(folders) <= set(lines):
        numbers = [int(match[1]) for match in indexed if match]
        lines = [match[2] for match in indexed if match]
        _refuse_twice(numbers, title)
    else:
        numbers = list(range(len(lines)))
    words = [line.split()[0].rstrip(",") for line in lines]
    names = lines if set(folders) <= set(lines) or not set(folders) <= set(words) else words
    _refuse_twice(names, title)
    missing = sorted(set(folders) - set(names))
    if missing:
        raise InputError(
            f"{title} has {len(names)} classes, such as '{names[0]}', but none for the folder '{missing[0]}'"
        )
    return dict(zip(names, numbers))


def _refuse_twice(values: List[Any], title: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{title} has {value!r} twice; expected every class once")
        seen.add(value)


def labels_of(names: Sequence[str], classes: Optional[Mapping[str, int]]) -> Dict[str, int]:
    """Return the class of each folder by `classes`, or by :func:`class_numbers` where there are none."""
    if classes is None:
        return class_numbers(names)
    missing = sorted(set(names) - set(classes))
    if missing:
        raise InputError(f"there is a class folder '{missing[0]}', but no class of this name")
    return {name: classes[name] for name in names}
