"""A program is run as Python would run it, with MXNet repaired; so are the processes that it starts.

Processes that :mod:`multiprocessing` starts anew import the program once more, by the name in the ``__spec__`` of
``__main__`` where it has one. Here it is that of :mod:`mxquant.compat.again`, which repairs MXNet first and then runs
the program that the environment names. Processes that are forked have all this from their parent.
"""

from __future__ import annotations

import builtins
import os
import pkgutil
import runpy
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, Callable, Dict, NoReturn, Optional, Sequence

from mxquant.shown import say

__all__ = ["run_again", "run_code", "run_module", "run_program"]

# What processes that are started have to run: 'path:' or 'module:' and its name, or nothing.
_VARIABLE = "MXQUANT_COMPAT_PROGRAM"


class _Spec(ModuleSpec):
    """Has the name of what runs the program once more, and the package of the program."""

    package: Optional[str] = None

    @property
    def parent(self) -> str:
        """Where relative imports begin."""
        return self.package or ""


def run_program(path: str, arguments: Sequence[str]) -> None:
    """Run a program as ``python PATH ARGUMENTS`` does.

    Parameters
    ----------
    path : str
        A file, or a folder or zip file that has a ``__main__.py``.
    arguments : sequence of str
        What follows in ``sys.argv``.

    Raises
    ------
    SystemExit
        With status 2 if there is no such file, 1 if there is no ``__main__.py`` in it. The program may raise anything.
    """
    sys.argv = [path, *arguments]
    # Python 3.8 calls a program as it was called, later ones by its whole path.
    name, path = path, os.path.abspath(path)
    name = name if sys.version_info < (3, 9) else path
    if pkgutil.get_importer(path) is not None:
        spec = PathFinder.find_spec("__main__", [path])
        if spec is None:
            _stop(f"can't find '__main__' module in {name!r}", 1)
        _put_first(name)
        _run(lambda: _code_of(spec), {"__file__": spec.origin, "__loader__": spec.loader, "__package__": ""})
        return
    loader = SourceFileLoader("__main__", name)
    try:
        text = loader.get_data(path)
    except OSError as error:
        _stop(f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}", 2)
    _put_first(os.path.dirname(os.path.realpath(path)))
    _run(lambda: _compiled(text, name), {"__file__": name, "__loader__": loader}, f"path:{path}")


def run_module(name: str, arguments: Sequence[str]) -> None:
    """Run a module as ``python -m NAME ARGUMENTS`` does.

    Parameters
    ----------
    name : str
        Of a module, or of a package that has a ``__main__``.
    arguments : sequence of str
        What follows in ``sys.argv``.

    Raises
    ------
    SystemExit
        With status 1 if there is no such module. The program may raise anything.
    """
    sys.argv = ["-m", *arguments]
    spec = _found(name)
    if spec is None:
        _stop(f"No module named {name}", 1)
    if spec.submodule_search_locations is not None:
        spec = _found(f"{name}.__main__")
    if spec is None:
        _stop(f"No module named {name}.__main__; {name!r} is a package and cannot be directly executed", 1)
    sys.argv[0] = spec.origin or name
    names = {"__file__": spec.origin, "__loader__": spec.loader, "__package__": spec.parent}
    # Of the `__main__` of a package multiprocessing imports nothing.
    _run(lambda: _code_of(spec), names, "" if spec.name.endswith(".__main__") else f"module:{spec.name}")


def run_code(code: str, arguments: Sequence[str]) -> None:
    """Run code as ``python -c CODE ARGUMENTS`` does.

    Parameters
    ----------
    code : str
        The program.
    arguments : sequence of str
        What follows in ``sys.argv``.
    """
    sys.argv = ["-c", *arguments]
    _put_first("")
    _run(lambda: _compiled(code, "<string>"), {})


def run_again() -> Dict[str, Any]:
    """Run the program as multiprocessing does in a process that it has started.

    Returns
    -------
    dict of str to object
        The names that the program has defined.
    """
    kind, _, name = os.environ.get(_VARIABLE, "").partition(":")
    names: Dict[str, Any] = {}
    if kind == "path":
        names = runpy.run_path(name, run_name="__mp_main__")
    elif kind == "module":
        names = runpy.run_module(name, run_name="__mp_main__", alter_sys=True)
    names.pop("__spec__", None)  # so that what this process starts is repaired as well
    return names


def _run(compiled: Callable[[], CodeType], names: Dict[str, Any], program: str = "") -> None:
    """Run code as ``__main__``, with names that it has from the start; `program` is for the processes it starts."""
    os.environ[_VARIABLE] = program
    main = ModuleType("__main__")
    spec = _Spec("mxquant.compat.again", None)
    spec.package = names.get("__package__")
    main.__dict__.update({"__package__": None, "__spec__": spec, "__builtins__": builtins, **names})
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:
        sys.modules["__mp_main__"] = main
    try:
        exec(compiled(), main.__dict__)
    except BaseException as error:
        _show_without_us(error)
        raise


def _show_without_us(error: BaseException) -> None:
    """Let the traceback that Python writes begin where the program does."""
    traceback: Optional[TracebackType] = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    hook = sys.excepthook

    def show(kind: Any, value: Any, _: Optional[TracebackType]) -> None:
        hook(kind, value.with_traceback(traceback), traceback)

    sys.excepthook = show


def _found(name: str) -> Optional[ModuleSpec]:
    """Return where a module is; its package is imported."""
    try:
        return find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        _stop(f"Error while finding module specification for {name!r} ({type(error).__name__}: {error})", 1)


def _code_of(spec: ModuleSpec) -> CodeType:
    loader: Any = spec.loader
    code: Optional[CodeType] = loader.get_code(spec.name)
    if code is None:
        raise ImportError(f"no code of '{spec.name}' is there to be run")
    return code


def _compiled(text: Any, name: str) -> CodeType:
    code: CodeType = compile(text, name, "exec", dont_inherit=True)
    return code


def _put_first(folder: str) -> None:
    """Look for modules in a folder first, instead of in that in which Python was started."""
    if sys.flags.isolated or getattr(sys.flags, "safe_path", False):
        return
    before, sys.path[0] = sys.path[0], folder
    home = str(Path(__file__).resolve().parents[2])
    if os.path.realpath(before) == home:
        sys.path.append(home)  # this package was found there, and has to be in other processes


def _stop(text: str, status: int) -> NoReturn:
    say(f"{sys.executable}: {text}")
    raise SystemExit(status)
