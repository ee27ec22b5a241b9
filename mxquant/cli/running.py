"""Running the command: from the words of a command line to an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn, Optional, Sequence

import typer

from mxquant.cli.app import app
from mxquant.cli.errors import Interrupted
from mxquant.errors import MXQuantError

__all__ = ["main", "run"]

BAD_INPUT, UNEXPECTED, INTERRUPTED = 2, 3, 130

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
        # So do typer's own options for completion.
        return int(ended.code or 0)
    except BrokenPipeError:
        return _reader_is_gone()
    except (KeyboardInterrupt, typer.Abort):
        return _stop("interrupted", INTERRUPTED)
    except Interrupted as stopped:
        return _stop(str(stopped), INTERRUPTED)
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        return _failed(error)


def _failed(error: Exception) -> int:
    if isinstance(error, MXQuantError):
        return _stop(f"error: {_sentence(error)}", BAD_INPUT)
    if isinstance(error, _BadUsage):
        # Help that stands for an error, as of no arguments at all, has been printed.
        text = error.format_message()  # type: ignore[attr-defined]
        return _stop(f"error: {' '.join(text.split()).rstrip('.')}", BAD_INPUT) if text else BAD_INPUT
    about = _sentence(error)
    what = f"unexpected {type(error).__name__}{': ' if about else ''}{about}"
    return _stop(f"error: {what}; run with --debug", UNEXPECTED)


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) if isinstance(error, MXQuantError) else (lines or [""])[0]


def _stop(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


def _reader_is_gone() -> int:
    """Return the exit code for a pipe that nobody reads any more, as of ``mxquant ... | head``; say nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return INTERRUPTED


def main() -> NoReturn:
    """Run the command and exit."""
    sys.exit(run())
