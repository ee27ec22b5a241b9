"""What a network has to reach: ``--require 'sqnr>=20'`` and ``--max-drop 1%``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence

from mxquant.errors import InputError

__all__ = ["Requirement", "fallen", "max_drop", "requirements"]

_FORM = re.compile(r"\s*(?P<name>[\w-]+)\s*>=\s*(?P<value>\d+(?:\.\d*)?)\s*(?P<unit>dB|%)?\s*")


@dataclass(frozen=True)
class Requirement:
    """A measure and the least that it may be: an SQNR in dB, or a share from 0 to 1."""

    measure: str
    least: float

    def unmet(self, found: Mapping[str, Optional[float]]) -> Optional[str]:
        """Return a sentence if `found` does not reach it, else None."""
        value = found.get(self.measure)
        if value is None:
            return f"{self.measure} >= {self.least:g}: it could not be measured"
        # A number that is not a number reaches nothing.
        return None if value >= self.least else f"{self.measure} >= {self.least:g}: it is {value:.4g}"


def requirements(texts: Optional[Sequence[str]], known: Sequence[str]) -> List[Requirement]:
    """Read what users require.

    Parameters
    ----------
    texts : sequence of str or None
        Such as 'sqnr>=20', 'sqnr>=20 dB', 'top1>=0.7', 'agreement>=99%'.
    known : sequence of str
        The measures that the command has.

    Returns
    -------
    list of Requirement
        In their order.

    Raises
    ------
    InputError
        If one is stated in another way.
    """
    found = []
    for text in texts or ():
        match = _FORM.fullmatch(text)
        if match is None or match["name"] not in known or (match["unit"] == "dB") > (match["name"] == "sqnr"):
            raise InputError(f"--require is {text!r}, expected one of {', '.join(map(_example, known))}")
        value = float(match["value"]) / (100 if match["unit"] == "%" else 1)
        if match["name"] != "sqnr" and value > 1:
            raise InputError(f"--require is {text!r}, but {match['name']} is a share; write 99% or 0.99")
        found.append(Requirement(match["name"], value))
    return found


def _example(name: str) -> str:
    return "'sqnr>=20'" if name == "sqnr" else f"'{name}>=99%'"


def max_drop(text: Optional[str]) -> Optional[float]:
    """Return by how much the top-1 accuracy may fall, as a share; None for None.

    Raises
    ------
    InputError
        If it is stated in another way than '1%' or '0.01'.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 1.0
    if match is None or value >= 1:
        raise InputError(f"--max-drop is {text!r}, expected a share of the examples, such as 1% or 0.01")
    return value


def fallen(drop: Optional[float], allowed: float) -> Optional[str]:
    """Return a sentence if the top-1 accuracy has fallen by more than is allowed, or nobody knows, else None."""
    if drop is None:
        return "the top-1 accuracy could not be measured"
    # Shares of few examples: 0.90 - 0.89 is a little more than 0.01.
    return None if drop <= allowed + 1e-9 else f"top-1 accuracy falls by {drop:.2%}, more than {allowed:.2%}"
