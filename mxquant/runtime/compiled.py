"""Loops that NumPy has no fast form for, compiled by Numba.

The machine code is kept on disk, beside its source or in the user's cache, so that only the first use after an
installation waits for the compiler. Compiled loops do not hold the interpreter's lock: threads run them in parallel.
"""

from __future__ import annotations

from typing import Any, Callable

import numba

__all__ = ["compiled", "numba"]


def compiled(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles a function for arguments of one signature; `options` are Numba's."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            kernel: Callable[..., Any] = numba.njit(signature, nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder to keep the code in
            kernel = numba.njit(signature, nogil=True, **options)(function)
        return kernel

    return decorate
