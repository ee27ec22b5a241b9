"""A function of the user's that returns the examples, ``--data module:function``: it runs as any import does.

Its module is looked for in the working folder, then wherever Python looks. That folder is on Python's path while the
module is imported, while the function is called and while what it returns makes its next batch, as the body of a
generator does, and it is the last one there. ``python -m`` puts it before all others; but this package and those that
it needs import some modules only when they use them, and would take a ``json.py`` that lies there for Python's own.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, Callable, Iterator

from mxquant.cli.examples import blaming
from mxquant.errors import InputError

__all__ = ["called", "function_of", "working_folder"]


def function_of(module: str, name: str) -> Callable[[], Any]:
    """Return a function.

    Parameters
    ----------
    module : str
        The module that it is in.
    name : str
        What it is called there.

    Raises
    ------
    InputError
        If there is no such module or function, or the module raises anything.
    """
    with working_folder():
        try:
            found = getattr(_imported(module), name, None)
        except (Exception, SystemExit) as error:  # whatever the user's module raises
            raise InputError(f"--data: cannot import '{module}': {type(error).__name__}: {error}") from error
    if not callable(found):
        raise InputError(f"--data: module '{module}' has no function '{name}'")
    return found  # type: ignore[no-any-return]


def called(function: Callable[[], Any], title: str) -> Any:
    """Return what a function returns.

    Parameters
    ----------
    function : callable
        The user's.
    title : str
        What the user calls it, for errors.

    Raises
    ------
    InputError
        If it raises anything.
    """
    with blaming(title), working_folder():
        return function()


def _imported(name: str) -> ModuleType:
    """Import a module: the one in the working folder, where Python has another of this name too."""
    top = name.partition(".")[0]
    spec = None if top in sys.modules else PathFinder.find_spec(top, [os.getcwd()])
    # A folder without __init__.py has no origin. It may hold anything, and is not preferred.
    if spec is not None and spec.loader is not None and spec.origin is not None:
        sys.modules[top] = made = module_from_spec(spec)
        try:
            spec.loader.exec_module(made)
        except BaseException:
            sys.modules.pop(top, None)
            raise
    return importlib.import_module(name)


@contextmanager
def working_folder() -> Iterator[None]:
    """Let Python look for modules in the working folder too, where all else has none."""
    here = os.getcwd()
    sys.path.append(here)
    try:
        yield
    finally:
        # The last one: where the user has put it on the path, that stays.
        with suppress(ValueError):
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(here)]
