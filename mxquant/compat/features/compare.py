"""Values compared with what is right, so that a check fails where a number is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_numpy", "close", "equal", "holds", "raises"]


def as_numpy(value: Any) -> Any:
    """Return an array of NumPy with the values of one of MXNet's, or of numbers.

    Parameters
    ----------
    value : array or numbers
        Of either kind.
    """
    return value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)


def close(actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Raise unless two arrays have one shape and, but for rounding, the same finite values.

    Parameters
    ----------
    actual, expected : array or numbers
        Of NumPy or MXNet.
    rtol, atol : float
        How far they may be apart: ``atol`` and ``rtol`` of what is expected.

    Raises
    ------
    AssertionError
        If they have not.
    """
    found, right = as_numpy(actual), as_numpy(expected)
    if found.shape != right.shape:
        raise AssertionError(f"shape {found.shape}, expected {right.shape}")
    if not np.all(np.isfinite(found)):
        raise AssertionError("values are not finite")
    apart = np.abs(found.astype("float64") - right.astype("float64"))
    if not np.all(apart <= atol + rtol * np.abs(right)):
        place = np.unravel_index(int(np.argmax(apart)), apart.shape)
        raise AssertionError(f"{found[place]!s} instead of {right[place]!s}")


def equal(actual: Any, expected: Any) -> None:
    """Raise unless two values, or arrays, are the same; arrays in their dtype, too, where both are arrays.

    Parameters
    ----------
    actual, expected : object
        Arrays of NumPy or MXNet, or anything else.

    Raises
    ------
    AssertionError
        If they are not.
    """
    if not (hasattr(actual, "shape") or hasattr(expected, "shape")):
        if actual != expected:
            raise AssertionError(f"{actual!r} instead of {expected!r}")
        return
    found, right = as_numpy(actual), as_numpy(expected)
    if hasattr(actual, "dtype") and hasattr(expected, "dtype") and found.dtype != right.dtype:
        raise AssertionError(f"{found.dtype} instead of {right.dtype}")
    if found.shape != right.shape:
        raise AssertionError(f"shape {found.shape}, expected {right.shape}")
    if not np.array_equal(found, right):
        place = np.unravel_index(int(np.argmax(found != right)), found.shape)
        raise AssertionError(f"{found[place]!s} instead of {right[place]!s}")


def holds(truth: Any, text: str) -> None:
    """Raise unless something is so.

    Parameters
    ----------
    truth : object
        Whether it is.
    text : str
        What has to be so.

    Raises
    ------
    AssertionError
        If it is not.
    """
    if not bool(truth):
        raise AssertionError(f"not so: {text}")


def raises(kind: Any, function: Any, *arguments: Any) -> None:
    """Raise unless a call raises.

    Parameters
    ----------
    kind : type of exception
        What it has to raise.
    function : function
        What is called.
    *arguments : object
        Its arguments.

    Raises
    ------
    AssertionError
        If it returns.
    """
    try:
        function(*arguments)
    except kind:
        return
    raise AssertionError(f"no {kind.__name__} was raised")
