"""A feature of MXNet, the check that tries it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Tuple

__all__ = ["Feature", "Outcome"]


@dataclass(frozen=True)
class Feature:
    """One feature.

    Parameters
    ----------
    name : str
        What the user reads.
    check : function
        Without parameters; it raises if a value is not what it has to be. It may write files where it is.
    needs : tuple of str
        Packages without which nothing can be said.
    """

    name: str
    check: Callable[[], None]
    needs: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a check.

    Parameters
    ----------
    feature : str
        Its name.
    state : str
        'ok', 'failed' or 'skipped'.
    reason : str
        One line; empty if all is well.
    seconds : float
        How long it took.
    traceback : str
        Of what was raised.
    """

    feature: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    traceback: str = ""

    def __post_init__(self) -> None:
        if self.state not in ("ok", "failed", "skipped"):
            raise ValueError(f"an outcome is 'ok', 'failed' or 'skipped', not {self.state!r}")
