"""Running the command: from the words of a command line to an exit code."""

from __future__ import annotations

import os
import select
import sys
import traceback
from typing import Any, NoReturn, Optional, Sequence

import typer

from mxquant.cli.app import app
from mxquant.cli.errors import Interrupted
from mxquant.errors import MXQuantError
from mxquant.shown import say

__all__ = ["main", "run"]

BAD_INPUT, UNEXPECTED, INTERRUPTED = 2, 3, 130
# What a shell says of a tool that ends by SIGPIPE.
NOBODY_READS = 141

# Click's base class of bad usage. Newer versions of typer carry Click with them, so it has no name of its own.
_BadUsage = typer.BadParameter.__mro__[2]


def run(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``mxquant``; default: those of this process.

    Returns
    -------
    int
        The exit code; see :mod:`mxquant.cli`.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    # MXNet would tell of every fusion.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    try:
        code = typer.main.get_command(app).main(words, prog_name="mxquant", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except SystemExit as ended:
        # So do typer's own options for completion; and Click makes 1 of a pipe that nobody reads.
        return NOBODY_READS if isinstance(ended.__context__, BrokenPipeError) else int(ended.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        return _ended_by(error, "--debug" in words)
    finally:
        _settle()


def _ended_by(error: BaseException, debug: bool) -> int:
    """Say why the command ends early, and return the exit code."""
    if isinstance(error, BrokenPipeError) and any(map(_is_left, (sys.stdout, sys.stderr))):
        return NOBODY_READS
    try:
        if isinstance(error, (KeyboardInterrupt, typer.Abort)):
            return _stop("interrupted", INTERRUPTED)
        if isinstance(error, Interrupted):
            return _stop(str(error), INTERRUPTED)
        if debug:
            lines = traceback.format_exception(type(error), error, error.__traceback__)
            say("".join(lines).rstrip("\n"), lines=True)
        return _failed(error)
    except BrokenPipeError:
        return NOBODY_READS


def _failed(error: BaseException) -> int:
    if isinstance(error, MXQuantError):
        return _stop(f"error: {_sentence(error)}", BAD_INPUT)
    if isinstance(error, _BadUsage):
        # Help that stands for an error, as of no arguments at all, has been printed.
        text = error.format_message()  # type: ignore[attr-defined]
        return _stop(f"error: {' '.join(text.split()).rstrip('.')}", BAD_INPUT) if text else BAD_INPUT
    if isinstance(error, OSError) and error.strerror:
        # The machine's, or the user's: a full disk, a folder that may not be written to.
        where = f"'{error.filename}'" if error.filename else "standard output"
        return _stop(f"error: {where}: {error.strerror}", BAD_INPUT)
    if isinstance(error, MemoryError):
        return _stop("error: the memory of this machine is not enough; a smaller --batch-size takes less", BAD_INPUT)
    about = _sentence(error)
    what = f"unexpected {type(error).__name__}{': ' if about else ''}{about}"
    return _stop(f"error: {what}; run with --debug", UNEXPECTED)


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) if isinstance(error, MXQuantError) else (lines or [""])[0]


def _stop(sentence: str, code: int) -> int:
    say(sentence)
    return code


def _is_left(stream: Any) -> bool:
    """Whether nobody reads any more what is written to a stream, as behind ``mxquant ... | head``."""
    try:
        poll = select.poll()
        poll.register(stream, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # it is no file
        return False


def _settle() -> None:
    """Drop what cannot be written any more, else Python would try it at its end, and tell."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_streams() -> None:
    """Put something in the place of streams that the shell has closed: the next file would get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        handle = os.open(os.devnull, os.O_RDWR)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(handle, number)
        setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115, to the end


def main() -> NoReturn:
    """Run the command and exit."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # Names of files may have what the terminal cannot show.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run())
