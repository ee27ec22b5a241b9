"""Options of commands as fields of frozen dataclasses."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field
from typing import Any, Mapping, Optional

import typer

__all__ = ["Common", "argument", "option", "parameter_of"]

_NAMES, _ABOUT = "names", "about"
_OUTPUT = "What is told"


def option(*names: str, help: str, panel: Optional[str] = None, **more: Any) -> Mapping[str, Any]:
    """Return the metadata of a dataclass field that is an option; it is required if the field has no default.

    Parameters
    ----------
    *names : str
        How it is written, such as ``--data``.
    help : str
        What the help page says of it.
    panel : str, optional
        The part of the help page it belongs to.
    **more
        Other arguments of ``typer.Option``.

    Returns
    -------
    mapping
        For ``dataclasses.field``.
    """
    return {_NAMES: names, _ABOUT: {"help": help, "rich_help_panel": panel, **more}}


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
