"""The labels of class folders: which class of the network each folder is, and whether that can be told at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence

from mxquant.errors import InputError

__all__ = ["Labels", "labels_of"]


@dataclass(frozen=True)
class Labels:
    """The class of each folder.

    Parameters
    ----------
    classes : mapping of str to int
        By the folder's name.
    told : str
        What they are, for the user.
    problem : str
        Why nobody can say; '' where one can.
    """

    classes: Mapping[str, int]
    told: str = ""
    problem: str = ""


def labels_of(title: str, folders: Sequence[str], outputs: Optional[int], listed: Optional[Path]) -> Labels:
    """Return the classes of folders.

    Parameters
    ----------
    title : str
        The folder that they are in.
    folders : sequence of str
        Their names.
    outputs : int or None
        How many classes the network has, if that is known.
    listed : Path or None
        A file with names of classes.

    Returns
    -------
    Labels
        Folders that are whole numbers are these classes, from 1 if there is none of 0 and one of the number of classes;
        others have their places in alphabetical order, if there are as many as the network has classes.

    Raises
    ------
    InputError
        If the file cannot be read, does not name a folder, or names more classes than the network has.
    """
    from mxquant.datasets.classes import class_numbers, whole_numbers

    if listed is not None:
        return _listed(folders, outputs, listed)
    numbers = whole_numbers(folders)
    count = len(folders)
    if numbers is not None and outputs is not None:
        low, high = min(numbers.values()), max(numbers.values())
        if high < outputs:
            return Labels(numbers, _sentence(numbers, ", their numbers" + _doubt(low, high, outputs)))
        if low > 0 and high == outputs:
            return Labels({name: number - 1 for name, number in numbers.items()}, _sentence(numbers, ", from 1", 1))
        places = {name: place for place, name in enumerate(numbers)}
        if count == outputs:
            return Labels(places, _sentence(places, ", their places in the order of numbers"))
        problem = f"class folders '{next(iter(numbers))}' to '{list(numbers)[-1]}'"
        return Labels(places, problem=_unknown(title, count, problem, outputs))
    found = class_numbers(folders)
    if outputs is not None and count != outputs:
        problem = f"{count} class folder{'s' * (count != 1)}, '{folders[0]}'{' and others' * (count > 1)}"
        return Labels(found, problem=_unknown(title, count, problem, outputs))
    how = "in alphabetical order" if numbers is None else "their numbers"
    return Labels(found, _sentence(found, f", {how}"))


def _listed(folders: Sequence[str], outputs: Optional[int], path: Path) -> Labels:
    from mxquant.datasets.classes import listed_classes
    from mxquant.files.reading import read_text

    title = f"--classes: '{path}'"
    classes = listed_classes(read_text(path, InputError, "the names of classes"), folders, title)
    most = max(classes, key=lambda name: classes[name])
    if outputs is not None and classes[most] >= outputs:
        raise InputError(
            f"{title} has {len(classes)} classes, '{most}' as number {classes[most]}, but the network has {outputs}, "
            f"numbered from 0 to {outputs - 1}"
        )
    return Labels(classes, _sentence({name: classes[name] for name in folders}, f", by '{path}'"))


def _sentence(classes: Mapping[str, int], how: str, less: int = 0) -> str:
    ordered: Dict[str, int] = dict(sorted(classes.items(), key=lambda item: item[1]))
    ends = [next(iter(ordered)), list(ordered)[-1]]
    if len(ordered) == 1:
        return f"labels: class folder '{ends[0]}' is class {ordered[ends[0]] - less}{how}"
    shown = [f"'{name}' is class {ordered[name] - less}" for name in ends]
    return f"labels: {len(ordered)} class folders, {shown[0]}, {shown[1]}{how}"


def _doubt(low: int, high: int, outputs: int) -> str:
    if low == 0:
        return ""
    return f" (the network has classes 0 to {outputs - 1}; if these folders count from 1, --classes says so)"


def _unknown(title: str, count: int, folders: str, outputs: int) -> str:
    return (
        f"'{title}' has {folders}, but the network has {outputs} classes: which of them each folder is cannot be told "
        f"by {count} names; --classes FILE names all {outputs} in order"
    )
