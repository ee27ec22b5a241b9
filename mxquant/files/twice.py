"""Which name stands twice, found in one pass: a file may have very many."""

from __future__ import annotations

from typing import Iterable, Optional, Set

__all__ = ["first_twice"]


def first_twice(names: Iterable[str]) -> Optional[str]:
    """Return the first name that has stood before; None where each stands once."""
    seen: Set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
