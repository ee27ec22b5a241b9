"""From a function of option groups to a command.

A command is a function whose parameters are frozen dataclasses with fields of :func:`mxquant.cli.options.option`, one
of them :class:`~mxquant.cli.options.Common`, and which returns a :class:`Result`. It computes and writes files; what is
printed, and the exit code, are decided here alone.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, Callable, Dict, List, Mapping, Protocol, Tuple, Type, get_type_hints, runtime_checkable

import typer

from mxquant.cli.errors import Interrupted
from mxquant.cli.files import check_files
from mxquant.cli.options import Common, files_of, parameter_of
from mxquant.cli.outputs import check_outputs
from mxquant.cli.session import session
from mxquant.cli.text import plain
from mxquant.errors import OutputError
from mxquant.shown import say, show
from mxquant.version import __version__

__all__ = ["Result", "command"]

UNMET = 1
ROLES = ("reads", "writes")


@dataclass(frozen=True)
class Result:
    """What a command has found.

    Parameters
    ----------
    document : mapping of str
        For a machine.
    text : str
        For a person.
    unmet : tuple of str
        Sentences, one for each target that is not reached.
    """

    document: Mapping[str, Any]
    text: str
    unmet: Tuple[str, ...] = ()


@runtime_checkable
class Checked(Protocol):
    """Options that can be looked at before the work begins."""

    def precheck(self) -> None:
        """Raise InputError where they cannot be right."""


def command(function: Callable[..., Result]) -> Callable[..., None]:
    """Return a function with a flat list of options, as typer reads it.

    Parameters
    ----------
    function : callable
        The command.

    Returns
    -------
    callable
        It prints the result, and exits with 1 where a target is not reached.
    """
    groups: Dict[str, Type[Any]] = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    parameters: List[inspect.Parameter] = []
    options = [each for group in groups.values() for each in fields(group)]
    for group in groups.values():
        hints = get_type_hints(group)
        parameters += [
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=parameter_of(each),
                annotation=hints[each.name],
            )
            for each in fields(group)
        ]

    @wraps(function)
    def run(**values: Any) -> None:
        arguments = {
            name: group(**{each.name: values[each.name] for each in fields(group)}) for name, group in groups.items()
        }
        common = next(value for value in arguments.values() if isinstance(value, Common))
        with session(common):
            try:
                reads, writes = ([each for one in options for each in files_of(one, role, values)] for role in ROLES)
                check_files(reads, writes)
                check_outputs(writes)
                for each in arguments.values():
                    if isinstance(each, Checked):
                        each.precheck()
                result = function(**arguments)
            except KeyboardInterrupt:
                raise Interrupted("interrupted; nothing was written") from None
        _show(function.__name__, result, common)
        if result.unmet:
            raise typer.Exit(UNMET)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    del run.__wrapped__  # else its signature would count
    return run


def _show(name: str, result: Result, common: Common) -> None:
    if common.json:
        document = {"command": name.strip("_"), "mxquant": __version__, **result.document}
        _print(json.dumps(plain(document), indent=2, allow_nan=False))
    elif result.text:
        _print(result.text)
    for sentence in result.unmet:
        say(f"not reached: {sentence}")


def _print(text: str) -> None:
    try:
        show(text)
    except BrokenPipeError:
        raise  # nobody reads it, which is no error
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error
