"""Shapes on a command line: ``1,3,224,224``, ``NAME=1,3,224,224`` for each input, and ``N`` or ``HxW`` of images."""

from __future__ import annotations

import re
from typing import Dict, Optional, Sequence, Tuple

from mxquant.errors import InputError

__all__ = ["input_shapes", "size_of"]

Shape = Tuple[int, ...]
_FORM = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<shape>\d+([,x]\d+)*)")


def input_shapes(texts: Optional[Sequence[str]], inputs: Sequence[str]) -> Dict[str, Shape]:
    """Return shapes by name of the input.

    Parameters
    ----------
    texts : sequence of str or None
        What the user has given.
    inputs : sequence of str
        Names of the network's inputs.

    Returns
    -------
    dict of str to tuple of int
        One for each input.

    Raises
    ------
    InputError
        If one is missing, or is none.
    """
    found: Dict[str, Shape] = {}
    expected = f"expected {' and '.join(_example(name, inputs) for name in inputs)}"
    only = inputs[0] if len(inputs) == 1 else None
    for text in texts or ():
        match = _FORM.fullmatch(text)
        name = (match["name"] or only) if match else None
        shape = tuple(int(each) for each in re.split("[,x]", match["shape"])) if match else ()
        if name is None or name not in inputs or name in found or not all(shape):
            raise InputError(f"--input-shape is {text!r}, {expected}")
        found[name] = shape
    if set(found) != set(inputs):
        raise InputError(f"--input-shape is missing, {expected}")
    return found


def _example(name: str, inputs: Sequence[str]) -> str:
    return "1,3,224,224" if len(inputs) == 1 else f"--input-shape {name}=1,3,224,224"


def size_of(text: str, option: str = "--image-size") -> Tuple[int, int]:
    """Return the height and width of ``N`` or ``HxW``; raise InputError for anything else."""
    match = re.fullmatch(r"\s*([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?\s*", text)
    if match is None:
        raise InputError(f"{option} is {text!r}, expected a side such as 224, or a height and width such as 32x128")
    return int(match[1]), int(match[2] or match[1])
