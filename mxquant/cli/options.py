"""Options of commands as fields of frozen dataclasses."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field
from typing import Any, List, Mapping, Optional

import typer

from mxquant.cli.files import Files, Named, named

__all__ = ["Common", "argument", "files_of", "option", "parameter_of"]

_NAMES, _ABOUT, READS, WRITES = "names", "about", "reads", "writes"
_OUTPUT = "What is told"


def option(
    *names: str,
    help: str,
    panel: Optional[str] = None,
    reads: Optional[Files] = None,
    writes: Optional[Files] = None,
    **more: Any,
) -> Mapping[str, Any]:
    """Return the metadata of a dataclass field that is an option; it is required if the field has no default.

    Parameters
    ----------
    *names : str
        How it is written, such as ``--data``.
    help : str
        What the help page says of it.
    panel : str, optional
        The part of the help page it belongs to.
    reads, writes : callable, optional
        Which files it names, to be read or to be written; see :mod:`mxquant.cli.files`.
    **more
        Other arguments of ``typer.Option``.

    Returns
    -------
    mapping
        For ``dataclasses.field``.
    """
    about = {"help": help, "rich_help_panel": panel, **more}
    return {_NAMES: names, _ABOUT: about, READS: reads, WRITES: writes}


def files_of(described: Field[Any], role: str, given: Mapping[str, Any]) -> List[Named]:
    """Return the files that an option names, by the values of all options.

    Parameters
    ----------
    described : dataclasses.Field
        With metadata of :func:`option` or :func:`argument`.
    role : str
        'reads' or 'writes'.
    given : mapping of str
        The values of all options.

    Returns
    -------
    list of (str, str)
        The option as it is written, and a file.
    """
    name = next(iter(described.metadata[_NAMES]), "")
    return named(name, described.metadata.get(role), given[described.name], given)


def argument(help: str, **more: Any) -> Mapping[str, Any]:
    """Return the metadata of a dataclass field that is a positional argument.

    Parameters
    ----------
    help : str
        What the help page says of it.
    **more
        Other arguments of ``typer.Argument``.

    Returns
    -------
    mapping
        For ``dataclasses.field``.
    """
    return {_NAMES: (), _ABOUT: {"help": help, **more}}


def parameter_of(described: Field[Any]) -> Any:
    """Return what typer has to know of a field.

    Parameters
    ----------
    described : dataclasses.Field
        With metadata of :func:`option` or :func:`argument`.

    Returns
    -------
    object
        What ``typer.Option`` or ``typer.Argument`` returns.
    """
    default: Any = ... if described.default is MISSING else described.default
    names, about = described.metadata[_NAMES], described.metadata[_ABOUT]
    return typer.Option(default, *names, **about) if names else typer.Argument(default, **about)


@dataclass(frozen=True)
class Common:
    """What every command takes: how much it tells, and in which form."""

    json: bool = field(
        default=False,
        metadata=option("--json", help="Print the result as JSON, and nothing else, on stdout.", panel=_OUTPUT),
    )
    quiet: bool = field(
        default=False, metadata=option("--quiet", "-q", help="No progress and no notes on stderr.", panel=_OUTPUT)
    )
    verbose: bool = field(
        default=False, metadata=option("--verbose", "-v", help="Tell every decision, on stderr.", panel=_OUTPUT)
    )
    debug: bool = field(
        default=False, metadata=option("--debug", help="Show the traceback of an error.", panel=_OUTPUT)
    )

    @property
    def progress(self) -> bool:
        """Whether the library reports progress."""
        return not self.quiet
