"""Everything public is listed in `__all__` and documented, and what is documented is what is there.

A module is public unless its name starts with an underscore. Everything public has a docstring; where that
lists parameters or exceptions, it lists those that exist. What users call also describes every parameter,
what it returns, and every error that it raises itself.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest

import mxquant
from mxquant import errors

USER_FACING = ["mxquant", "mxquant.quantization", "mxquant.stats", "mxquant.thresholds"]
EMPTY_RETURNS = (None, "None", "NoReturn", inspect.Signature.empty)
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.M)


def public_modules():
    found = pkgutil.walk_packages(mxquant.__path__, "mxquant.")
    names = ["mxquant", *(module.name for module in found)]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def is_ours(thing):
    return (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith("mxquant")


def callables(modules):
    """Return the functions and classes in `__all__`, each once, by their full name."""
    found = {}
    for name in modules:
        module = importlib.import_module(name)
        for each in getattr(module, "__all__", ()):
            thing = getattr(module, each, None)
            if is_ours(thing):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return found


def methods(cls):
    """Return the public methods and properties that `cls` itself defines, as functions."""
    for name, member in vars(cls).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def sections(thing):
    """Return the sections of a NumPy-style docstring, title to text."""
    parts = SECTION.split(inspect.getdoc(thing) or "")
    return dict(zip(parts[1::2], parts[2::2]))


def entries(text):
    """Return the names that a section lists: `x, y : int` gives two."""
    heads = re.findall(r"^(\S.*?)(?: :.*)?$", text, re.M)
    return [name.strip("*` ") for head in heads for name in head.split(",")]


def parameters(thing):
    function = thing.__init__ if inspect.isclass(thing) else thing
    names = list(inspect.signature(function).parameters)
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def raised(function):
    """Return the names of the exceptions in the `raise X(...)` statements of a function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def exception(name):
    return getattr(errors, name, None) or getattr(builtins, name, None)


MODULES = public_modules()
PUBLIC = callables(MODULES)
CALLED_BY_USERS = callables(USER_FACING)
FUNCTIONS = {name: thing for name, thing in CALLED_BY_USERS.items() if inspect.isfunction(thing)}


def each(things):
    return pytest.mark.parametrize("thing", [pytest.param(thing, id=name) for name, thing in things.items()])


def test_the_walk_finds_the_package():
    assert {"mxquant", "mxquant.quantization", "mxquant.graph.ir", "mxquant.thresholds.entropy"} <= set(MODULES)
    assert {"mxquant.pipeline.quantize", "mxquant.graph.ir.Graph", "mxquant.errors.GraphError"} <= set(PUBLIC)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name):
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_its_public_names(name):
    module = importlib.import_module(name)
    is_empty_package = hasattr(module, "__path__") and not any(is_ours(thing) for thing in vars(module).values())
    assert hasattr(module, "__all__") or is_empty_package
    listed = getattr(module, "__all__", [])
    assert len(listed) == len(set(listed))
    assert [each for each in listed if not hasattr(module, each)] == []


def test_the_package_shows_its_names():
    assert set(mxquant.__all__) <= set(dir(mxquant))
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = mxquant.quantise


@each(PUBLIC)
def test_it_has_a_docstring(thing):
    # That of a dataclass without one is its signature.
    doc = thing.__doc__ or ""
    assert doc.strip() and not doc.startswith(f"{thing.__name__}(")
    if inspect.isclass(thing):
        assert [name for name, method in methods(thing) if not inspect.getdoc(getattr(thing, name))] == []


@each(PUBLIC)
def test_documented_parameters_are_those_of_the_signature(thing):
    functions = [thing] if inspect.isfunction(thing) else [method for _, method in methods(thing)]
    for function in functions:
        documented = entries(sections(function).get("Parameters", ""))
        assert sorted(documented) in ([], sorted(parameters(function))), function.__qualname__


@each(PUBLIC)
def test_documented_errors_are_exceptions(thing):
    functions = [thing] if inspect.isfunction(thing) else [thing, *(method for _, method in methods(thing))]
    for function in functions:
        names = entries(sections(function).get("Raises", ""))
        assert [name for name in names if not issubclass(exception(name) or object, BaseException)] == []


@each(CALLED_BY_USERS)
def test_what_users_call_describes_every_parameter(thing):
    if inspect.isclass(thing) and issubclass(thing, errors.MXQuantError):
        return  # raised to users, not by them
    if inspect.isclass(thing) and not dataclasses.is_dataclass(thing) and "__init__" not in vars(thing):
        return
    found = sections(thing)
    documented = entries(found.get("Parameters") or found.get("Attributes", ""))
    assert sorted(documented) == sorted(parameters(thing))


@each(FUNCTIONS)
def test_what_users_call_describes_what_it_returns(thing):
    if inspect.signature(thing).return_annotation not in EMPTY_RETURNS:
        assert {"Returns", "Yields"} & set(sections(thing))


@each(FUNCTIONS)
def test_what_users_call_describes_the_errors_that_it_raises(thing):
    documented = {exception(name) for name in entries(sections(thing).get("Raises", ""))}
    missing = [
        name
        for name in raised(thing)
        if not any(issubclass(exception(name) or object, known) for known in documented if known)
    ]
    assert missing == []
